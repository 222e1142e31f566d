//! `sonde calibrate`: how far round-trip times are off on this machine.

use std::io::{self, Write};

use netsonde::Target;
use netsonde::icmp::{CalibrateConfig, CalibrateError, ReferenceChoice, SocketChoice, calibrate};

use crate::args::{AgainstKind, CalibrateArgs, Form, SocketKind};
use crate::{Status, Stop, block_on};

/// Measures, and shows what was found.
pub(crate) fn run(args: &CalibrateArgs) -> Result<Status, Stop> {
    let config = CalibrateConfig {
        target: Target::Host(args.host.clone()),
        socket: match args.socket {
            SocketKind::Auto => SocketChoice::Auto,
            SocketKind::Raw => SocketChoice::Raw,
            SocketKind::Datagram => SocketChoice::Datagram,
        },
        reference: match args.against {
            AgainstKind::Auto => ReferenceChoice::Auto,
            AgainstKind::Capture => ReferenceChoice::Capture,
            AgainstKind::Stamps => ReferenceChoice::Stamps,
        },
        count: args.count,
        interval: args.interval,
        load: args.load,
    };
    let found = block_on(calibrate(&config))?.map_err(|error| Stop::Message(explain(&error)))?;
    let text = match args.format {
        Form::Text => found.to_string(),
        Form::Json => serde_json::to_string_pretty(&found).map_err(io::Error::from)?,
    };
    writeln!(io::stdout().lock(), "{text}")?;
    Ok(Status::Pass)
}

/// With the cause behind it.
fn explain(error: &CalibrateError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
