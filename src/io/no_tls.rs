//! What stands in for TLS in a build without it: a connector that cannot be made.

use std::convert::Infallible;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::error::Error;
use crate::target::Host;
use crate::tls::{TlsConfig, TlsReport};
use crate::verdict::Failure;

#[derive(Debug)]
pub(crate) struct TlsConnector(Infallible);

impl TlsConnector {
    pub(crate) fn new(_config: &TlsConfig) -> Result<Self, Error> {
        Err(Error::feature("", "tls"))
    }

    pub(crate) fn may_be_turned_down(&self, _report: &TlsReport) -> Option<std::time::Duration> {
        match self.0 {}
    }

    pub(crate) async fn shake<S>(
        &self,
        _host: Option<&Host>,
        _stream: &mut S,
        _report: &mut TlsReport,
    ) -> Result<Session, Failure> {
        match self.0 {}
    }
}

pub(crate) struct Session(Infallible);

#[derive(Debug)]
pub(crate) struct TlsStream<S>(Infallible, PhantomData<S>);

impl<S> TlsStream<S> {
    pub(crate) fn over(_stream: S, Session(never): Session) -> Self {
        match never {}
    }

    pub(crate) fn inner(&self) -> &S {
        match self.0 {}
    }

    pub(crate) fn failure_of(_error: &io::Error) -> Option<&Failure> {
        None
    }

    pub(crate) fn alert(&self) -> Option<&crate::tls::Alert> {
        match self.0 {}
    }

    pub(crate) async fn settle(&mut self) -> Result<(), Failure> {
        match self.0 {}
    }
}

impl<S: Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        _buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.0 {}
    }
}

impl<S: Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        _bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.0 {}
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0 {}
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0 {}
    }
}
