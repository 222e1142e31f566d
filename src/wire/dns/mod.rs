//! DNS messages (RFC 1035), read where they lie and written with compression.
//!
//! A [`Message`] borrows its octets. Header and questions are checked when it is parsed; records are
//! read one by one, and each is checked when its turn comes, so that the first of a broken message
//! are there all the same. Nothing is allocated for reading, and nothing that a message says of itself
//! is believed before it is seen: a count is not a reason to make room.
//!
//! ```
//! use netsonde::wire::dns::{Class, Composer, DnsName, Flags, Message, RecordType, Section};
//!
//! let name: DnsName = "example.org".parse()?;
//! let mut bytes = Vec::new();
//! let mut composer = Composer::new(&mut bytes, 0x1234, Flags(0x8180));
//! composer.question(name.as_ref(), RecordType::A, Class::IN)?;
//! composer.record(Section::Answer, name.as_ref(), RecordType::A, Class::IN, 300, &[192, 0, 2, 1])?;
//! composer.finish();
//!
//! let message = Message::parse(&bytes)?;
//! assert_eq!(message.header().id, 0x1234);
//! let question = message.questions().next().unwrap();
//! assert!(question.name == name.as_ref() && question.rtype == RecordType::A);
//! for record in message.section(Section::Answer) {
//!     let record = record?;
//!     assert_eq!((record.owner.to_string(), record.ttl()), ("example.org.".to_owned(), 300));
//!     assert_eq!(record.data(), [192, 0, 2, 1]);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod compose;
mod edns;
mod error;
mod framing;
mod header;
mod json;
mod message;
mod name;
pub mod rdata;
mod record;
mod registry;

pub use compose::{ComposeError, Composer};
pub use edns::{CLIENT_COOKIE, Edns, EdnsOption, EdnsOptions, EdnsRepr};
pub use error::{DnsError, DnsErrorKind};
pub use framing::{Deframer, FrameError};
pub use header::{Flags, HEADER, Header};
pub use message::{Message, Question, Questions, Records, Section};
pub use name::{DnsName, Labels, MAX_LABEL, MAX_NAME, MAX_POINTERS, NameError, NameRef};
pub use rdata::{RData, RecordBuf};
pub use record::{DataReader, Record};
pub use registry::{
    Class, ExtendedErrorCode, Opcode, OptionCode, Rcode, RecordType, UnknownMnemonic,
};
