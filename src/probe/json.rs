//! The stable JSON form of a result.

use std::time::SystemTime;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Attempt, ProbeResult, SCHEMA};
use crate::expect::Clause;
use crate::report::{AnyReport, Report, ReportBody};
use crate::target::Target;
use crate::timing::{Quality, Timing};
use crate::verdict::Verdict;

impl<R: AnyReport> Serialize for ProbeResult<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("ProbeResult", 11)?;
        out.serialize_field("schema", &SCHEMA)?;
        out.serialize_field("kind", self.report.kind())?;
        out.serialize_field("target", &self.target)?;
        out.serialize_field("started_at", &rfc3339(self.started_at))?;
        out.serialize_field("verdict", &self.verdict)?;
        out.serialize_field("outcome", &self.outcome)?;
        out.serialize_field("clauses", &self.clauses)?;
        out.serialize_field("timing", &self.timing)?;
        out.serialize_field("attempts", &self.attempts)?;
        out.serialize_field("quality", &self.quality)?;
        out.serialize_field("report", &self.report)?;
        out.end()
    }
}

/// RFC 3339 in UTC with nanoseconds; beyond the years that it can hold, its nearest end.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let beyond =
        if time < SystemTime::UNIX_EPOCH { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    format!("{:.9}", jiff::Timestamp::try_from(time).unwrap_or(beyond))
}

/// Everything but the report, whose type depends on `kind`.
#[derive(Deserialize)]
struct Read<B> {
    schema: u32,
    target: Target,
    started_at: String,
    verdict: Verdict,
    outcome: Option<Verdict>,
    #[serde(default)]
    clauses: Vec<Clause>,
    timing: Timing,
    #[serde(default)]
    attempts: Vec<Attempt>,
    #[serde(default)]
    quality: Quality,
    #[serde(flatten)]
    body: B,
}

#[derive(Deserialize)]
struct Typed<R> {
    kind: String,
    report: R,
}

impl<B> Read<B> {
    fn into_result<E: de::Error>(self) -> Result<ProbeResult<B>, E> {
        if self.schema != SCHEMA {
            return Err(E::custom(format_args!(
                "result of schema {}, this version reads {SCHEMA}",
                self.schema
            )));
        }
        let started_at = self.started_at.parse::<jiff::Timestamp>().map_err(E::custom)?;
        Ok(ProbeResult {
            target: self.target,
            started_at: started_at.into(),
            outcome: self.outcome.unwrap_or_else(|| self.verdict.clone()),
            verdict: self.verdict,
            clauses: self.clauses,
            timing: self.timing,
            attempts: self.attempts,
            quality: self.quality,
            report: self.body,
        })
    }
}

impl<'de, R: ReportBody> Deserialize<'de> for ProbeResult<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = Read::<Typed<R>>::deserialize(deserializer)?.into_result::<D::Error>()?;
        if read.report.kind != R::KIND {
            return Err(de::Error::custom(format_args!(
                "result of kind `{}`, expected `{}`",
                read.report.kind,
                R::KIND
            )));
        }
        Ok(read.map(|typed| typed.report))
    }
}

impl<'de> Deserialize<'de> for ProbeResult<Report> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Read::<Report>::deserialize(deserializer)?.into_result()
    }
}
