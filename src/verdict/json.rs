//! The form of a verdict in JSON. `message` is derived from the rest: written, never read.

use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Failure, FailureKind, LimitHit, LocalFault, LocalFaultKind, RawCode, Side, Verdict};
use crate::timing::Phase;

#[derive(Deserialize)]
struct Read {
    status: Option<Status>,
    code: Option<String>,
    phase: Option<Phase>,
    step: Option<u32>,
    side: Option<Side>,
    raw: Option<RawCode>,
    limit: Option<LimitHit>,
    errno: Option<i32>,
    detail: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Pass,
    Fail,
    Unknown,
}

impl Serialize for Failure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        failure_fields(self, serializer.serialize_struct("Failure", 8)?)
    }
}

impl Serialize for LocalFault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fault_fields(self, serializer.serialize_struct("LocalFault", 5)?)
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Verdict", 9)?;
        out.serialize_field("status", self.status())?;
        match self {
            Verdict::Pass => out.end(),
            Verdict::Fail(failure) => failure_fields(failure, out),
            Verdict::Unknown(fault) => fault_fields(fault, out),
        }
    }
}

fn failure_fields<S: SerializeStruct>(failure: &Failure, mut out: S) -> Result<S::Ok, S::Error> {
    out.serialize_field("code", failure.code())?;
    out.serialize_field("phase", &failure.phase)?;
    out.serialize_field("message", &failure.to_string())?;
    out.serialize_field("side", &failure.side)?;
    optional(&mut out, "step", failure.step.as_ref())?;
    optional(&mut out, "raw", failure.raw.as_ref())?;
    optional(&mut out, "limit", failure.limit.as_ref())?;
    optional(&mut out, "detail", failure.detail.as_ref())?;
    out.end()
}

fn fault_fields<S: SerializeStruct>(fault: &LocalFault, mut out: S) -> Result<S::Ok, S::Error> {
    out.serialize_field("code", fault.code())?;
    out.serialize_field("phase", &fault.phase)?;
    out.serialize_field("message", &fault.to_string())?;
    optional(&mut out, "errno", fault.errno.as_ref())?;
    optional(&mut out, "detail", fault.detail.as_ref())?;
    out.end()
}

fn optional<S: SerializeStruct, T: Serialize>(
    out: &mut S,
    key: &'static str,
    value: Option<&T>,
) -> Result<(), S::Error> {
    match value {
        Some(value) => out.serialize_field(key, value),
        None => out.skip_field(key),
    }
}

impl Read {
    fn failure<E: de::Error>(self) -> Result<Failure, E> {
        let kind: FailureKind = known(self.code.as_deref(), "failure")?;
        Ok(Failure {
            kind,
            phase: self.phase,
            step: self.step,
            side: self.side.unwrap_or_else(|| kind.side()),
            raw: self.raw,
            limit: self.limit,
            detail: self.detail,
        })
    }

    fn fault<E: de::Error>(self) -> Result<LocalFault, E> {
        let kind: LocalFaultKind = known(self.code.as_deref(), "local fault")?;
        let Read { phase, errno, detail, .. } = self;
        Ok(LocalFault { kind, phase, errno, detail })
    }
}

impl<'de> Deserialize<'de> for Failure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Read::deserialize(deserializer)?.failure()
    }
}

impl<'de> Deserialize<'de> for LocalFault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Read::deserialize(deserializer)?.fault()
    }
}

impl<'de> Deserialize<'de> for Verdict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = Read::deserialize(deserializer)?;
        match read.status {
            None => Err(de::Error::missing_field("status")),
            Some(Status::Pass) => Ok(Verdict::Pass),
            Some(Status::Fail) => read.failure().map(Verdict::Fail),
            Some(Status::Unknown) => read.fault().map(Verdict::Unknown),
        }
    }
}

fn known<K: std::str::FromStr, E: de::Error>(code: Option<&str>, what: &str) -> Result<K, E> {
    let code = code.ok_or_else(|| E::missing_field("code"))?;
    code.parse().map_err(|_| E::custom(format_args!("unknown {what} code `{code}`")))
}
