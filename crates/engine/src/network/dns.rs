//! DNS for a machine (RFC 1035): names of machines are answered here, everything else is passed on as it is.
//!
//! Queries are written by machines, answers by whoever the host's resolver is: of both only the header and the one
//! question are read, with every length checked. No name in an answer is followed.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Machines are NAME and NAME.hostel.
pub const DOMAIN: &str = "hostel";
/// Longest message over UDP that is passed on (EDNS).
pub const MAX_MESSAGE: usize = 4096;
/// Seconds an answer may be kept.
const TTL: u32 = 5;
const HEADER: usize = 12;
const A: u16 = 1;
const PTR: u16 = 12;
const AAAA: u16 = 28;
const ANY: u16 = 255;
const INTERNET: u16 = 1;
const NXDOMAIN: u16 = 3;
const SERVFAIL: u16 = 2;
const RESPONSE: u16 = 0x8000;
const AUTHORITATIVE: u16 = 0x0400;
const RECURSION_DESIRED: u16 = 0x0100;
const RECURSION_AVAILABLE: u16 = 0x0080;

/// A message with one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question<'a> {
    /// Its number.
    pub id: u16,
    /// It is an answer.
    pub is_answer: bool,
    flags: u16,
    kind: u16,
    class: u16,
    /// The question as it stands in the message: name, type, class.
    bytes: &'a [u8],
}

impl<'a> Question<'a> {
    /// Reads header and question; `None` when that is not a plain query, or its answer.
    pub fn parse(message: &'a [u8]) -> Option<Self> {
        let word = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
        let flags = word(2)?;
        // Opcode 0, one question.
        if flags & 0x7800 != 0 || word(4)? != 1 || message.len() > MAX_MESSAGE {
            return None;
        }
        let mut at = HEADER;
        loop {
            match *message.get(at)? {
                0 => break,
                // A compressed name, where there is nothing before it to point to.
                64.. => return None,
                length => at += 1 + usize::from(length),
            }
            if at - HEADER > 254 {
                return None;
            }
        }
        let bytes = message.get(HEADER..at + 5)?;
        Some(Self { id: word(0)?, is_answer: flags & RESPONSE != 0, flags, kind: word(at + 1)?, class: word(at + 3)?, bytes })
    }

    /// The name's labels, lower case; `None` when one has other characters than a machine's or host's name.
    fn labels(&self) -> Option<Vec<String>> {
        let mut out = Vec::new();
        let mut rest = self.bytes;
        while let Some((&length, after)) = rest.split_first().filter(|(n, _)| **n > 0) {
            let label = after.get(..usize::from(length))?;
            if !label.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
                return None;
            }
            out.push(String::from_utf8_lossy(label).to_ascii_lowercase());
            rest = &after[label.len()..];
        }
        Some(out)
    }

    /// Whether another message has the same question (names in any case).
    pub fn same_as(&self, other: &Question<'_>) -> bool {
        self.bytes.eq_ignore_ascii_case(other.bytes)
    }

    /// What it asks for.
    pub fn subject(&self) -> Subject {
        let Some(labels) = self.labels().filter(|_| self.class == INTERNET) else { return Subject::Elsewhere };
        let name: Vec<&str> = labels.iter().map(String::as_str).collect();
        match name[..] {
            [a, b, c, d, "in-addr", "arpa"] if self.kind == PTR || self.kind == ANY => {
                format!("{d}.{c}.{b}.{a}").parse().map_or(Subject::Elsewhere, Subject::Address)
            }
            [] => Subject::Elsewhere,
            // A machine's name may have dots.
            [.., _, DOMAIN] => Subject::Machine(name[..name.len() - 1].join(".")),
            [single] => Subject::Machine(single.to_owned()),
            _ => Subject::Elsewhere,
        }
    }

    fn answer(&self, code: u16, record: Option<(u16, &[u8])>) -> Vec<u8> {
        let flags = RESPONSE | AUTHORITATIVE | self.flags & RECURSION_DESIRED | RECURSION_AVAILABLE | code;
        let mut out = Vec::with_capacity(HEADER + self.bytes.len() + 32);
        for word in [self.id, flags, 1, u16::from(record.is_some()), 0, 0] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(self.bytes);
        if let Some((kind, data)) = record {
            // The name is the question's, 12 bytes into the message.
            out.extend_from_slice(&[0xc0, HEADER as u8]);
            for word in [kind, INTERNET] {
                out.extend_from_slice(&word.to_be_bytes());
            }
            out.extend_from_slice(&TTL.to_be_bytes());
            out.extend_from_slice(&(data.len() as u16).to_be_bytes());
            out.extend_from_slice(data);
        }
        out
    }

    /// The machine is there, and this is its address: other types than A have no record.
    pub fn found(&self, address: Ipv4Addr) -> Vec<u8> {
        let asked = self.kind == A || self.kind == ANY;
        self.answer(0, asked.then_some((A, &address.octets()[..])))
    }

    /// Whether it asks for IPv6 addresses.
    pub fn wants_ipv6(&self) -> bool {
        self.kind == AAAA
    }

    /// The machine is there, with this IPv6 address or none.
    pub fn found_ipv6(&self, address: Option<Ipv6Addr>) -> Vec<u8> {
        self.answer(0, address.map(|a| a.octets()).as_ref().map(|a| (AAAA, &a[..])))
    }

    /// The address is that of machine `name`.
    pub fn named(&self, name: &str) -> Vec<u8> {
        let mut data = Vec::with_capacity(name.len() + 10);
        for label in name.split('.').chain([DOMAIN]).filter(|l| (1..=63).contains(&l.len())) {
            data.push(label.len() as u8);
            data.extend_from_slice(label.as_bytes());
        }
        data.push(0);
        self.answer(0, Some((PTR, &data)))
    }

    /// There is no such name.
    pub fn unknown(&self) -> Vec<u8> {
        self.answer(NXDOMAIN, None)
    }

    /// It cannot be found out.
    pub fn failed(&self) -> Vec<u8> {
        self.answer(SERVFAIL, None)
    }
}

/// What a query is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A machine's name, in lower case, without the domain.
    Machine(String),
    /// An address, for which a name is wanted.
    Address(Ipv4Addr),
    /// For the host's resolver.
    Elsewhere,
}

/// Gives a message another number.
pub fn renumber(message: &mut [u8], id: u16) {
    if let Some(place) = message.get_mut(..2) {
        place.copy_from_slice(&id.to_be_bytes());
    }
}

/// IPv4 name servers of a resolv.conf, the first three.
pub fn name_servers(text: &str) -> Vec<Ipv4Addr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse().ok()).flatten()
    });
    servers.take(3).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut out = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.').filter(|l| !l.is_empty()) {
            out.push(label.len() as u8);
            out.extend_from_slice(label.as_bytes());
        }
        out.push(0);
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0, 1]);
        out
    }

    #[test]
    fn subjects() {
        for (name, kind, want) in [
            ("Web", A, Subject::Machine("web".into())),
            ("web.hostel.", A, Subject::Machine("web".into())),
            ("a.b.hostel", 28, Subject::Machine("a.b".into())),
            ("hostel", A, Subject::Machine("hostel".into())),
            ("example.org", A, Subject::Elsewhere),
            ("", 2, Subject::Elsewhere),
            ("a b", A, Subject::Elsewhere),
            ("2.0.208.10.in-addr.arpa", PTR, Subject::Address(Ipv4Addr::new(10, 208, 0, 2))),
            ("x.0.208.10.in-addr.arpa", PTR, Subject::Elsewhere),
        ] {
            let message = query(name, kind);
            assert_eq!(Question::parse(&message).expect("a query").subject(), want, "{name}");
        }
    }

    #[test]
    fn answers_are_messages_again() {
        let message = query("web", A);
        let question = Question::parse(&message).expect("a query");
        let answer = question.found(Ipv4Addr::new(10, 208, 0, 2));
        let back = Question::parse(&answer).expect("an answer");
        assert!(back.is_answer && back.same_as(&question) && back.id == 0x1234);
        assert!(answer.ends_with(&[0, 4, 10, 208, 0, 2]) && answer[7] == 1);
        let v6 = query("web", 28);
        assert_eq!(Question::parse(&v6).expect("a query").found(Ipv4Addr::LOCALHOST)[7], 0, "no record, and no error");
        assert_eq!(question.unknown()[3] & 15, 3);
        let reverse = query("2.0.208.10.in-addr.arpa", PTR);
        assert!(Question::parse(&reverse).expect("a query").named("web").ends_with(b"\x03web\x06hostel\0"));
    }

    #[test]
    fn what_is_odd_is_not_read() {
        let good = query("web.hostel", A);
        for cut in 0..good.len() {
            assert_eq!(Question::parse(&good[..cut]), None, "cut at {cut}");
        }
        let long = query(&vec!["x".repeat(63); 5].join("."), A);
        assert_eq!(Question::parse(&long), None);
        for (at, byte) in [(2, 0x28), (5, 0), (5, 2), (12, 0xc0), (12, 64)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(Question::parse(&bad), None, "byte {at}");
        }
    }

    #[test]
    fn resolvers() {
        let text = "# nameserver 1.1.1.1\nnameserver 127.0.0.53\nnameserver ::1\n nameserver 9.9.9.9 x\nsearch a\nnameserver\n";
        assert_eq!(name_servers(text), [Ipv4Addr::new(127, 0, 0, 53), Ipv4Addr::new(9, 9, 9, 9)]);
    }
}
