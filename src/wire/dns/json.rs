//! Names and numbers as text in JSON and in configurations.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Class, DnsName, ExtendedErrorCode, Opcode, OptionCode, Rcode, RecordType};

macro_rules! as_text {
    ($($name:ident: $what:literal,)*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(|error| {
                    let shown = text.escape_debug();
                    de::Error::custom(format_args!("`{shown}` is no {}: {error}", $what))
                })
            }
        }
    )*};
}

as_text! {
    RecordType: "record type",
    Class: "class",
    Rcode: "response code",
    Opcode: "opcode",
    OptionCode: "EDNS option",
    ExtendedErrorCode: "extended DNS error",
    DnsName: "domain name",
}
