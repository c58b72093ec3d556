//! Messages: a header and values.

use super::signature::Type;
use super::value::{Value, signature};
use super::wire::{Reader, Writer};
use super::{Malformed, Result};

/// Longest message that is read, in bytes, header not counted. The specification allows 32 times as much; as values it would fill memory.
const MAX_MESSAGE: usize = 4 << 20;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Asks an object for something.
    Call = 1,
    /// Answers.
    Return = 2,
    /// Answers that it cannot be.
    Error = 3,
    /// Tells whoever listens.
    Signal = 4,
}

/// A message, whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// The caller wants no answer.
    pub no_reply: bool,
    /// Its number, not 0; of its sender.
    pub serial: u32,
    /// What it answers.
    pub reply_to: Option<u32>,
    /// The object.
    pub path: Option<String>,
    /// Of the member.
    pub interface: Option<String>,
    /// A method or a signal.
    pub member: Option<String>,
    /// Name of an error.
    pub error: Option<String>,
    /// Whom it is for.
    pub destination: Option<String>,
    /// Whom it is from.
    pub sender: Option<String>,
    /// How many descriptors came along.
    pub descriptors: u32,
    /// Values.
    pub body: Vec<Value>,
}

/// Codes of header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SENDER: u8 = 7;
const SIGNATURE: u8 = 8;
const UNIX_FDS: u8 = 9;
/// Bytes before the fields' own.
const FIXED: usize = 16;
const NO_REPLY: u8 = 1;

impl Message {
    /// Nothing but its kind.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            no_reply: false,
            serial: 0,
            reply_to: None,
            path: None,
            interface: None,
            member: None,
            error: None,
            destination: None,
            sender: None,
            descriptors: 0,
            body: Vec::new(),
        }
    }

    /// A call; the caller gives it its serial.
    pub fn call(destination: Option<&str>, path: &str, interface: &str, member: &str, body: Vec<Value>) -> Self {
        Self {
            destination: destination.map(str::to_owned),
            path: Some(path.to_owned()),
            interface: Some(interface.to_owned()),
            member: Some(member.to_owned()),
            body,
            ..Self::new(Kind::Call)
        }
    }

    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Writer::default();
        self.body.iter().for_each(|v| body.value(v));
        let mut out = Writer::default();
        out.bytes.extend([b'l', self.kind as u8, if self.no_reply { NO_REPLY } else { 0 }, 1]);
        out.u32(u32::try_from(body.bytes.len()).unwrap_or(u32::MAX));
        out.u32(self.serial);
        let texts = [(INTERFACE, &self.interface), (MEMBER, &self.member), (ERROR_NAME, &self.error)];
        let mut fields: Vec<(u8, Value)> = self.path.iter().map(|path| (PATH, Value::Path(path.clone()))).collect();
        fields.extend(texts.into_iter().filter_map(|(code, text)| Some((code, Value::String(text.clone()?)))));
        fields.extend(self.reply_to.map(|serial| (REPLY_SERIAL, Value::Uint32(serial))));
        fields.extend(self.destination.clone().map(|name| (DESTINATION, Value::String(name))));
        fields.extend(self.sender.clone().map(|name| (SENDER, Value::String(name))));
        if !self.body.is_empty() {
            fields.push((SIGNATURE, Value::Signature(signature(&self.body))));
        }
        if self.descriptors > 0 {
            fields.push((UNIX_FDS, Value::Uint32(self.descriptors)));
        }
        let field = |(code, value): (u8, Value)| Value::Struct(vec![Value::Byte(code), value.boxed()]);
        out.value(&Value::Array(fields_type(), fields.into_iter().map(field).collect()));
        out.align(8);
        out.bytes.append(&mut body.bytes);
        out.bytes
    }

    /// Reads one message of exactly these bytes.
    pub fn decode(bytes: &[u8]) -> Result<Message> {
        if message_length(bytes)? != Some(bytes.len()) {
            return Err(Malformed("its length is another"));
        }
        let little = bytes.first() == Some(&b'l');
        let mut reader = Reader::new(bytes, little);
        reader.byte()?;
        let kind = match reader.byte()? {
            1 => Kind::Call,
            2 => Kind::Return,
            3 => Kind::Error,
            4 => Kind::Signal,
            _ => return Err(Malformed("its kind is unknown")),
        };
        let mut message = Message::new(kind);
        message.no_reply = reader.byte()? & NO_REPLY != 0;
        reader.byte()?;
        reader.u32()?;
        message.serial = reader.u32()?;
        if message.serial == 0 {
            return Err(Malformed("its number is 0"));
        }
        let Value::Array(_, fields) = reader.value(&Type::Array(Box::new(fields_type())))? else { return Err(Malformed("it has no fields")) };
        let mut types = Vec::new();
        for field in fields {
            let Value::Struct(mut pair) = field else { continue };
            let (Some(Value::Variant(value)), Some(Value::Byte(code))) = (pair.pop(), pair.pop()) else { continue };
            message.set(code, *value, &mut types)?;
        }
        reader.align(8)?;
        let mut body = Reader::new(&bytes[reader.position()..], little);
        message.body = types.iter().map(|of| body.value(of)).collect::<Result<_>>()?;
        if !body.is_at_end() {
            return Err(Malformed("it is longer than its values"));
        }
        message.check()
    }

    fn set(&mut self, code: u8, value: Value, types: &mut Vec<Type>) -> Result<()> {
        match (code, value) {
            (PATH, Value::Path(path)) => self.path = Some(path),
            (INTERFACE, Value::String(text)) => self.interface = Some(text),
            (MEMBER, Value::String(text)) => self.member = Some(text),
            (ERROR_NAME, Value::String(text)) => self.error = Some(text),
            (REPLY_SERIAL, Value::Uint32(serial)) => self.reply_to = Some(serial),
            (DESTINATION, Value::String(text)) => self.destination = Some(text),
            (SENDER, Value::String(text)) => self.sender = Some(text),
            (SIGNATURE, Value::Signature(text)) => *types = Type::all(&text)?,
            (UNIX_FDS, Value::Uint32(count)) => self.descriptors = count,
            (PATH..=UNIX_FDS, _) => return Err(Malformed("a field is of another type")),
            // Later versions may have more.
            _ => {}
        }
        Ok(())
    }

    /// Every kind needs some fields.
    fn check(self) -> Result<Message> {
        let whole = match self.kind {
            Kind::Call => self.path.is_some() && self.member.is_some(),
            Kind::Signal => self.path.is_some() && self.member.is_some() && self.interface.is_some(),
            Kind::Return => self.reply_to.is_some(),
            Kind::Error => self.reply_to.is_some() && self.error.is_some(),
        };
        if whole { Ok(self) } else { Err(Malformed("a field is missing")) }
    }
}

fn fields_type() -> Type {
    Type::Struct(vec![Type::Basic(b'y'), Type::Variant])
}

/// How long the message is that begins with these bytes; `None`: more of them are needed to know.
pub fn message_length(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(head) = bytes.get(..FIXED) else { return Ok(None) };
    let number = |at: usize| {
        let raw = [head[at], head[at + 1], head[at + 2], head[at + 3]];
        (if head[0] == b'l' { u32::from_le_bytes(raw) } else { u32::from_be_bytes(raw) }) as usize
    };
    if !matches!(head[0], b'l' | b'B') || head[3] != 1 {
        return Err(Malformed("it does not begin like one of version 1"));
    }
    let (body, fields) = (number(4), number(12));
    if body > MAX_MESSAGE || fields > MAX_MESSAGE {
        return Err(Malformed("it is too long"));
    }
    Ok(Some((FIXED + fields).next_multiple_of(8) + body))
}
