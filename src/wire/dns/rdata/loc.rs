//! Locations (RFC 1876).

use std::fmt;

use super::super::{DataReader, DnsError, DnsErrorKind};
use super::text::{TextErrorKind, Token, Tokens};
use super::{Data, TextError};

/// A location on the earth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Loc {
    /// The diameter of what is there, in centimetres: a digit, and a power of ten.
    pub size: (u8, u8),
    /// The horizontal precision, likewise.
    pub horizontal: (u8, u8),
    /// The vertical precision, likewise.
    pub vertical: (u8, u8),
    /// The latitude in thousandths of a second of arc, above 2^31 north of the equator.
    pub latitude: u32,
    /// The longitude in thousandths of a second of arc, above 2^31 east of the prime meridian.
    pub longitude: u32,
    /// The altitude in centimetres above a point 100 km below the WGS 84 spheroid.
    pub altitude: u32,
}

const ZERO: u32 = 1 << 31;
const DEGREE: u32 = 3_600_000;
const GROUND: i64 = 10_000_000;

fn precision(reader: &mut DataReader<'_>) -> Result<(u8, u8), DnsError> {
    let wrong = reader.error(DnsErrorKind::Data);
    let octet = reader.u8()?;
    let (digit, power) = (octet >> 4, octet & 0xf);
    // Zero is written with no power, so that there is one form of it.
    if digit > 9 || power > 9 || digit == 0 && power > 0 {
        return Err(wrong);
    }
    Ok((digit, power))
}

fn angle(reader: &mut DataReader<'_>, limit: u32) -> Result<u32, DnsError> {
    let wrong = reader.error(DnsErrorKind::Data);
    let angle = reader.u32()?;
    if angle.abs_diff(ZERO) > limit * DEGREE { Err(wrong) } else { Ok(angle) }
}

impl<'a> Data<'a> for Loc {
    fn read(reader: &mut DataReader<'a>) -> Result<Self, DnsError> {
        let wrong = reader.error(DnsErrorKind::Data);
        if reader.u8()? != 0 {
            return Err(wrong);
        }
        Ok(Loc {
            size: precision(reader)?,
            horizontal: precision(reader)?,
            vertical: precision(reader)?,
            latitude: angle(reader, 90)?,
            longitude: angle(reader, 180)?,
            altitude: reader.u32()?,
        })
    }

    fn write(&self, into: &mut Vec<u8>, _: bool) {
        into.push(0);
        into.extend([self.size, self.horizontal, self.vertical].map(|(d, p)| d << 4 | p));
        let words = [self.latitude, self.longitude, self.altitude];
        into.extend(words.into_iter().flat_map(u32::to_be_bytes));
    }

    fn scan(tokens: &mut Tokens<'_>, into: &mut Vec<u8>) -> Result<(), TextError> {
        let latitude = scan_angle(tokens, 90, ["N", "S"])?;
        let longitude = scan_angle(tokens, 180, ["E", "W"])?;
        let token = tokens.need()?;
        let wrong = token.error(TextErrorKind::Location);
        let altitude = metres(&token).map(|metres| metres + GROUND);
        let altitude = altitude.and_then(|altitude| u32::try_from(altitude).ok()).ok_or(wrong)?;
        let mut sizes = [(1, 2), (1, 6), (1, 3)];
        for size in &mut sizes {
            let Some(token) = tokens.next()? else { break };
            *size = metres(&token).and_then(power).ok_or(token.error(TextErrorKind::Location))?;
        }
        let [size, horizontal, vertical] = sizes;
        Loc { size, horizontal, vertical, latitude, longitude, altitude }.write(into, false);
        Ok(())
    }
}

/// Centimetres as a digit and a power of ten; what is behind the digit is cut off, as elsewhere.
fn power(centimetres: i64) -> Option<(u8, u8)> {
    let (mut rest, mut power) = (centimetres, 0);
    while rest > 9 {
        rest /= 10;
        power += 1;
    }
    (power <= 9).then_some((u8::try_from(rest).ok()?, power))
}

/// A decimal number in units of 10^-`places`.
fn fixed(text: &str, places: usize) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = whole.bytes().chain(part.bytes()).all(|octet| octet.is_ascii_digit());
    if !digits || whole.is_empty() || whole.len() > 9 || part.len() > places {
        return None;
    }
    format!("{whole}{part:0<places$}").parse().ok()
}

/// Centimetres from a text in metres.
fn metres(token: &Token<'_>) -> Option<i64> {
    let text = token.text.strip_suffix('m').unwrap_or(token.text);
    match text.strip_prefix('-') {
        Some(text) => fixed(text, 2).map(|value| -value),
        None => fixed(text, 2),
    }
}

fn scan_angle(tokens: &mut Tokens<'_>, limit: u32, ends: [&str; 2]) -> Result<u32, TextError> {
    let mut angle = 0_i64;
    let degrees = (i64::from(DEGREE), 0, i64::from(limit));
    let mut parts = [degrees, (60_000, 0, 59), (1, 3, 59_999)].into_iter();
    loop {
        let token = tokens.need()?;
        let wrong = token.error(TextErrorKind::Location);
        let value = match ends.iter().position(|end| token.text.eq_ignore_ascii_case(end)) {
            // Degrees have to be there.
            Some(_) if parts.len() == 3 => return Err(wrong),
            Some(0) => i64::from(ZERO) + angle,
            Some(_) => i64::from(ZERO) - angle,
            None => {
                let (unit, places, most) = parts.next().ok_or(wrong)?;
                let value = fixed(token.text, places).filter(|value| *value <= most);
                angle += value.ok_or(wrong)? * unit;
                continue;
            }
        };
        let most = angle <= i64::from(limit * DEGREE);
        return u32::try_from(value).ok().filter(|_| most).ok_or(wrong);
    }
}

/// A number of `10^-places` without a part that is zero.
fn show_fixed(f: &mut fmt::Formatter<'_>, value: u64, places: u32) -> fmt::Result {
    let unit = 10_u64.pow(places);
    let (whole, part) = (value / unit, value % unit);
    match part {
        0 => write!(f, "{whole}"),
        _ => write!(f, "{whole}.{part:0width$}", width = places as usize),
    }
}

impl fmt::Display for Loc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (angle, [above, below]) in [(self.latitude, ["N", "S"]), (self.longitude, ["E", "W"])] {
            let rest = angle.abs_diff(ZERO);
            write!(f, "{} {} ", rest / DEGREE, rest / 60_000 % 60)?;
            show_fixed(f, u64::from(rest % 60_000), 3)?;
            write!(f, " {} ", if angle >= ZERO { above } else { below })?;
        }
        let altitude = i64::from(self.altitude) - GROUND;
        if altitude < 0 {
            f.write_str("-")?;
        }
        show_fixed(f, altitude.unsigned_abs(), 2)?;
        for (digit, power) in [self.size, self.horizontal, self.vertical] {
            f.write_str("m ")?;
            show_fixed(f, u64::from(digit) * 10_u64.pow(power.into()), 2)?;
        }
        f.write_str("m")
    }
}
