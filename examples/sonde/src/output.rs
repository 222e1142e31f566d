//! Results on standard output, in each of the formats.

use std::collections::BTreeMap;
use std::io::{self, Write};

use netsonde::ProbeResult;

use crate::args::Format;
use crate::style::Style;

pub(crate) mod json;
pub(crate) mod prometheus;
pub(crate) mod text;

/// Takes results in the order in which they end and writes them as the format wants them.
pub(crate) struct Printer<W> {
    format: Format,
    style: Style,
    total: usize,
    out: W,
    /// What cannot be written yet, by the place of its target.
    kept: BTreeMap<usize, ProbeResult>,
    /// The place whose turn it is in text.
    next: usize,
}

impl<W: Write> Printer<W> {
    /// A printer for the results of so many targets.
    pub(crate) fn new(format: Format, style: Style, total: usize, out: W) -> Self {
        Printer { format, style, total, out, kept: BTreeMap::new(), next: 0 }
    }

    /// Takes the result of the target at this place, and writes what can be written.
    ///
    /// # Errors
    /// Those of the output, a closed pipe among them.
    pub(crate) fn result(&mut self, place: usize, result: ProbeResult) -> io::Result<()> {
        if self.format == Format::Jsonl {
            self.out.write_all(json::line(&result)?.as_bytes())?;
            return self.out.flush();
        }
        self.kept.insert(place, result);
        if self.format == Format::Text {
            while let Some(result) = self.kept.remove(&self.next) {
                if self.next > 0 {
                    self.out.write_all(b"\n")?;
                }
                self.out.write_all(text::render(&result, self.style).as_bytes())?;
                self.next += 1;
            }
            self.out.flush()?;
        }
        Ok(())
    }

    /// Writes what had to wait for the last result.
    ///
    /// # Errors
    /// As [`Printer::result`].
    pub(crate) fn finish(mut self) -> io::Result<()> {
        let results: Vec<ProbeResult> = std::mem::take(&mut self.kept).into_values().collect();
        let page = match self.format {
            Format::Text | Format::Jsonl => return Ok(()),
            Format::Json => json::document(&results, self.total)?,
            Format::Prometheus => prometheus::page(&results),
        };
        self.out.write_all(page.as_bytes())?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests;
