//! `sonde demo`: local targets, good and broken ones, and what probing them shows.

use std::io::{self, BufWriter, Write};

use netsonde::ProbeResult;
use serde::Serialize;

use crate::args::{DemoArgs, Format};
use crate::output::{json, prometheus, text};
use crate::style::Style;
use crate::{Status, Stop, block_on, style};

mod cases;
mod servers;

use cases::Case;
use servers::Servers;

/// Starts the targets, probes them one after the other, and says what is seen.
pub(crate) fn run(args: &DemoArgs) -> Result<Status, Stop> {
    let servers = Servers::start()?;
    let cases = cases::all(&servers);
    block_on(async {
        tokio::select! {
            outcome = show(args, &cases) => {
                let status = outcome?;
                if args.keep {
                    keep(args, &cases, &servers)?;
                    tokio::signal::ctrl_c().await?;
                }
                Ok(status)
            }
            // The servers are dropped, and with them their folder.
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                Err(Stop::Message("interrupted".to_owned()))
            }
        }
    })?
}

/// A result with what the demo says about it; reads back as a plain result.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    result: &'a ProbeResult,
    demo: Remark<'a>,
}

#[derive(Serialize)]
struct Remark<'a> {
    name: &'a str,
    shows: &'a str,
    command: String,
    meant: &'a str,
    as_meant: bool,
}

async fn show(args: &DemoArgs, cases: &[Case]) -> Result<Status, Stop> {
    let mut out = BufWriter::new(io::stdout().lock());
    let style = style(&args.output);
    let mut results = Vec::with_capacity(cases.len());
    for (index, case) in cases.iter().enumerate() {
        let result = case.probe().await?;
        match args.output.format {
            _ if args.output.quiet => {}
            Format::Text => {
                let heading = format!("{}/{} {}", index + 1, cases.len(), case.name);
                waterfall(&mut out, &heading, case, &result, style)?;
            }
            Format::Jsonl => out.write_all(json::line(&remark(case, &result))?.as_bytes())?,
            Format::Json | Format::Prometheus => {}
        }
        out.flush()?;
        results.push(result);
    }
    let strays: Vec<&str> = cases
        .iter()
        .zip(&results)
        .filter(|(case, result)| !case.is_as_meant(result))
        .map(|(case, _)| case.name)
        .collect();
    match args.output.format {
        _ if args.output.quiet => {}
        Format::Text => writeln!(out, "{}", summary(cases.len(), &strays, style))?,
        Format::Json => {
            let all: Vec<Shown<'_>> =
                cases.iter().zip(&results).map(|(case, result)| remark(case, result)).collect();
            out.write_all(json::document(&all, all.len())?.as_bytes())?;
        }
        Format::Prometheus => out.write_all(prometheus::page(&results).as_bytes())?,
        Format::Jsonl => {}
    }
    out.flush()?;
    Ok(if strays.is_empty() { Status::Pass } else { Status::Fail })
}

fn remark<'a>(case: &'a Case, result: &'a ProbeResult) -> Shown<'a> {
    let demo = Remark {
        name: case.name,
        shows: case.shows,
        command: case.command(),
        meant: case.meant,
        as_meant: case.is_as_meant(result),
    };
    Shown { result, demo }
}

fn waterfall(
    out: &mut impl Write,
    heading: &str,
    case: &Case,
    result: &ProbeResult,
    style: Style,
) -> io::Result<()> {
    writeln!(out, "{} - {}", style.bold(heading), case.shows)?;
    writeln!(out, "$ {}", case.command())?;
    out.write_all(text::render(result, style).as_bytes())?;
    if !case.is_as_meant(result) {
        let text = format!("  not as meant: expected {}", case.meant);
        writeln!(out, "{}", style.status("fail", &text))?;
    }
    writeln!(out)
}

fn summary(total: usize, strays: &[&str], style: Style) -> String {
    if strays.is_empty() {
        style.status("pass", &format!("{total} probes, each ended as it was meant to"))
    } else {
        let text = format!("{total} probes, not as meant: {}", strays.join(", "));
        style.status("fail", &text)
    }
}

/// What stands between the machine-readable results and the user's own probes.
fn keep(args: &DemoArgs, cases: &[Case], servers: &Servers) -> io::Result<()> {
    let mut out = io::stderr().lock();
    writeln!(out, "\nThe targets run until Ctrl-C. Their authority: {}", servers.ca().display())?;
    if let Ok(tool) = std::env::current_exe() {
        writeln!(out, "The tool, `sonde` above: {}", tool.display())?;
    }
    if args.output.format != Format::Text || args.output.quiet {
        for case in cases {
            writeln!(out, "  {}", case.command())?;
        }
    }
    for (name, address) in servers.addresses() {
        writeln!(out, "  {name:<10} {address}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::style::ColorChoice;

    #[test]
    fn the_summary_names_what_went_astray() {
        let style = Style::choose(ColorChoice::Never, None, None, false);
        assert_eq!(summary(3, &[], style), "3 probes, each ended as it was meant to");
        assert_eq!(summary(3, &["slow", "tls"], style), "3 probes, not as meant: slow, tls");
    }
}
