//! The servers, in a process of their own that ends with this one.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::floor::{self, Identity};
use crate::{Job, Result};

/// A process that serves. It ends when this is dropped.
pub(crate) struct Sink {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) addresses: Vec<SocketAddr>,
    /// The root of its certificates in PEM; empty without TLS.
    pub(crate) root: String,
}

impl Sink {
    /// Starts it. It will say when it holds this many connections.
    pub(crate) fn start(job: Job, held: usize) -> Result<Self> {
        let kind = match job {
            Job::Tcp => "tcp",
            Job::Tls => "tls",
        };
        let mut child = Command::new(std::env::current_exe()?)
            .args(["sink", kind, &held.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no pipe to the servers")?;
        let sink =
            Sink { child, stdout: BufReader::new(stdout), addresses: vec![], root: String::new() };
        sink.introduced()
    }

    fn introduced(mut self) -> Result<Self> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        self.addresses =
            line.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?;
        loop {
            line.clear();
            if self.stdout.read_line(&mut line)? == 0 {
                return Err("the servers ended".into());
            }
            if line == "\n" {
                return Ok(self);
            }
            self.root += &line;
        }
    }

    /// Blocks until it holds as many connections as it was told.
    pub(crate) fn wait_until_held(&mut self) -> io::Result<()> {
        self.stdout.read_line(&mut String::new()).map(drop)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // It ends at the end of its input; killing it makes sure. Both can only fail if it is gone.
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process itself.
pub(crate) fn serve(job: Job, held: usize) -> Result<bool> {
    allow_descriptors()?;
    std::thread::spawn(|| {
        let mut end = Vec::new();
        let _ = io::stdin().read_to_end(&mut end);
        std::process::exit(0);
    });
    let identity = if job == Job::Tls { Some(Identity::new()?) } else { None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listeners = floor::listen()?;
        let mut out = io::stdout();
        for listener in &listeners {
            write!(out, "{} ", listener.local_addr()?)?;
        }
        let root = identity.as_ref().map_or("", |identity| &identity.root);
        write!(out, "\n{root}\n")?;
        out.flush()?;
        let seen = Arc::new(AtomicUsize::new(0));
        let ready = move || {
            if seen.fetch_add(1, Ordering::Relaxed) + 1 == held {
                println!("held");
            }
        };
        floor::serve(listeners, identity.map(|identity| identity.server), ready).await;
        Ok(true)
    })
}

/// Raises the soft limit on descriptors to the hard one.
pub(crate) fn allow_descriptors() -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}
