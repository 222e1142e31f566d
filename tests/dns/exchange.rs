//! Questions and answers by plain sockets, with our own messages and nothing else of ours.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use netsonde::wire::dns::{
    Class, Composer, DnsName, EdnsRepr, Flags, Message, RecordBuf, RecordType, Section,
};

const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn name(text: &str) -> DnsName {
    text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
}

/// A question that wants recursion, perhaps with EDNS, so that answers of up to 1,232 octets come by UDP.
pub(crate) fn question(owner: &str, rtype: RecordType, edns: Option<&EdnsRepr<'_>>) -> Vec<u8> {
    let mut query = Vec::new();
    let mut composer = Composer::new(&mut query, 0x4e53, Flags(0).with_recursion_desired(true));
    composer.question(name(owner).as_ref(), rtype, Class::IN).unwrap();
    if let Some(edns) = edns {
        composer.edns(edns).unwrap();
    }
    composer.finish();
    query
}

pub(crate) fn by_udp(server: SocketAddr, query: &[u8]) -> Vec<u8> {
    let local: IpAddr = if server.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    let socket = UdpSocket::bind((local, 0)).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send(query).unwrap();
    let mut answer = vec![0; 65_535];
    let len = socket.recv(&mut answer).unwrap();
    answer.truncate(len);
    answer
}

fn connect(server: SocketAddr, query: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let len = u16::try_from(query.len()).unwrap();
    stream.write_all(&[&len.to_be_bytes(), query].concat()).unwrap();
    stream
}

fn read(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut len = [0; 2];
    stream.read_exact(&mut len)?;
    let mut message = vec![0; u16::from_be_bytes(len).into()];
    stream.read_exact(&mut message)?;
    Ok(message)
}

pub(crate) fn by_tcp(server: SocketAddr, query: &[u8]) -> Vec<u8> {
    read(&mut connect(server, query)).unwrap()
}

/// The answer by UDP, and the one by TCP if that is cut short.
pub(crate) fn ask(server: SocketAddr, owner: &str, rtype: RecordType) -> Vec<u8> {
    let query = question(owner, rtype, Some(&EdnsRepr::default()));
    let answer = by_udp(server, &query);
    match Message::parse(&answer).unwrap().header().flags.truncated() {
        true => by_tcp(server, &query),
        false => answer,
    }
}

/// The records of the answer section. The message has to be whole, and what is read of it to be written
/// back by the composer as a message of the same records.
pub(crate) fn answers(message: &[u8]) -> Vec<RecordBuf> {
    let message = Message::parse(message).unwrap();
    assert_eq!(message.check(), Ok(0));
    let records = message.section(Section::Answer).map(|record| {
        let record = record.unwrap();
        let owned = RecordBuf::from(&record);
        assert_eq!(owned.to_string(), record.to_string());
        owned
    });
    let records: Vec<RecordBuf> = records.collect();
    let mut again = Vec::new();
    let mut composer = Composer::new(&mut again, message.header().id, message.header().flags);
    for question in message.questions() {
        composer.question(question.name, question.rtype, question.class).unwrap();
    }
    records.iter().for_each(|record| record.compose(&mut composer, Section::Answer).unwrap());
    composer.finish();
    let again = Message::parse(&again).unwrap();
    let texts = again.section(Section::Answer).map(|record| record.unwrap().to_string());
    assert!(texts.eq(records.iter().map(ToString::to_string)));
    records
}

/// All records of a zone, with the SOA record at both ends.
pub(crate) fn transfer(server: SocketAddr, zone: &str) -> Vec<RecordBuf> {
    let mut stream = connect(server, &question(zone, RecordType::AXFR, None));
    let mut all = Vec::new();
    let ends = |all: &[RecordBuf]| all.iter().filter(|one| one.rtype == RecordType::SOA).count();
    while ends(&all) < 2 {
        let message = read(&mut stream).unwrap();
        let rcode = Message::parse(&message).unwrap().header().flags.rcode_low();
        assert_eq!(rcode, 0, "the transfer is refused");
        all.extend(answers(&message));
    }
    all
}

/// A server that answers the question for `N.t.` with the record of that number, and others with none. A
/// signature of a transaction stands at the end of the message, where it belongs.
pub(crate) struct Responder {
    address: SocketAddr,
    records: Arc<Vec<RecordBuf>>,
    thread: Option<JoinHandle<()>>,
}

impl Responder {
    pub(crate) fn start(data: Vec<(RecordType, Vec<u8>)>) -> Self {
        let numbered = data.into_iter().enumerate();
        let records = numbered.map(|(number, (rtype, data))| {
            let (class, ttl) = match rtype {
                RecordType::TSIG => (Class::ANY, 0),
                _ => (Class::IN, 300),
            };
            RecordBuf::new(name(&format!("{number}.t.")), rtype, class, ttl, data)
        });
        let records: Arc<Vec<_>> = Arc::new(records.collect());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let served = Arc::clone(&records);
        let serve = move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                while let Ok(query) = read(&mut stream) {
                    let Some(answer) = reply(&query, &served) else { return };
                    if stream.write_all(&answer).is_err() {
                        break;
                    }
                }
            }
        };
        let thread = Some(std::thread::spawn(serve));
        Responder { address, records, thread }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn records(&self) -> &[RecordBuf] {
        &self.records
    }

    pub(crate) fn questions(&self) -> Vec<(String, RecordType)> {
        self.records.iter().map(|record| (record.owner.to_string(), record.rtype)).collect()
    }
}

/// The answer to a question; none to one that ends the server.
fn reply(query: &[u8], records: &[RecordBuf]) -> Option<Vec<u8>> {
    let query = Message::parse(query).ok()?;
    let question = query.questions().next()?;
    let label = std::str::from_utf8(question.name.labels().next()?).ok()?;
    if label == "end" {
        return None;
    }
    let mut answer = Vec::new();
    let mut composer = Composer::with_prefix(&mut answer, query.header().id, Flags(0x8400));
    composer.question(question.name, question.rtype, question.class).unwrap();
    if let Some(record) = label.parse::<usize>().ok().and_then(|number| records.get(number)) {
        let section = match record.rtype {
            RecordType::TSIG => Section::Additional,
            _ => Section::Answer,
        };
        record.compose(&mut composer, section).unwrap();
    }
    composer.finish();
    Some(answer)
}

impl Drop for Responder {
    fn drop(&mut self) {
        let end = question("end.t.", RecordType::A, None);
        let stream = connect(self.address, &end);
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
        drop(stream);
    }
}
