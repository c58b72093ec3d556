//! Values as bytes, and back. What is read is checked; what is written is little-endian.

use super::signature::{MAX_DEPTH, Type};
use super::value::Value;
use super::{Malformed, Result};

/// Longest array, in bytes.
const MAX_ARRAY: usize = 64 << 20;

/// Bytes of a message, from a multiple of 8 on.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    pub(super) fn u32(&mut self, number: u32) {
        self.align(4);
        self.bytes.extend(number.to_le_bytes());
    }

    fn number(&mut self, bytes: &[u8]) {
        self.align(bytes.len());
        self.bytes.extend(bytes);
    }

    fn text(&mut self, text: &str) {
        self.u32(length(text.len()));
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    pub(super) fn value(&mut self, value: &Value) {
        match value {
            Value::Byte(n) => self.bytes.push(*n),
            Value::Bool(yes) => self.u32(u32::from(*yes)),
            Value::Int16(n) => self.number(&n.to_le_bytes()),
            Value::Uint16(n) => self.number(&n.to_le_bytes()),
            Value::Int32(n) => self.number(&n.to_le_bytes()),
            Value::Uint32(n) | Value::Descriptor(n) => self.u32(*n),
            Value::Int64(n) => self.number(&n.to_le_bytes()),
            Value::Uint64(n) => self.number(&n.to_le_bytes()),
            Value::Double(n) => self.number(&n.to_le_bytes()),
            Value::String(text) | Value::Path(text) => self.text(text),
            Value::Signature(text) => self.signature(text),
            Value::Bytes(bytes) => {
                self.u32(length(bytes.len()));
                self.bytes.extend(bytes);
            }
            Value::Array(of, elements) => {
                self.u32(0);
                let at = self.bytes.len();
                // Not counted in the array's length.
                self.align(of.alignment());
                let begin = self.bytes.len();
                elements.iter().for_each(|e| self.value(e));
                let size = length(self.bytes.len() - begin);
                self.bytes[at - 4..at].copy_from_slice(&size.to_le_bytes());
            }
            Value::Struct(fields) => {
                self.align(8);
                fields.iter().for_each(|f| self.value(f));
            }
            Value::Entry(entry) => {
                self.align(8);
                self.value(&entry.0);
                self.value(&entry.1);
            }
            Value::Variant(inner) => {
                self.signature(&inner.of().to_string());
                self.value(inner);
            }
        }
    }
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Reads a message's bytes, from a multiple of 8 on.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    little: bool,
    /// Values within values, variants counted.
    depth: u32,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], little: bool) -> Self {
        Self { bytes, at: 0, little, depth: 0 }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len()).ok_or(Malformed("it ends early"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    pub(super) fn align(&mut self, to: usize) -> Result<()> {
        let padding = self.at.next_multiple_of(to) - self.at;
        if self.take(padding)?.iter().any(|b| *b != 0) {
            return Err(Malformed("its padding is not zero"));
        }
        Ok(())
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.align(N)?;
        let mut bytes: [u8; N] = self.take(N)?.try_into().map_err(|_| Malformed("it ends early"))?;
        if !self.little {
            bytes.reverse();
        }
        Ok(bytes)
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.number()?))
    }

    fn size(&mut self) -> Result<usize> {
        usize::try_from(self.u32()?).map_err(|_| Malformed("a length is too great"))
    }

    fn text_of(&mut self, size: usize) -> Result<String> {
        let bytes = self.take(size)?;
        if self.byte()? != 0 || bytes.contains(&0) {
            return Err(Malformed("a text does not end with its length"));
        }
        String::from_utf8(bytes.to_vec()).map_err(|_| Malformed("a text is not UTF-8"))
    }

    fn signature(&mut self) -> Result<String> {
        let size = usize::from(self.byte()?);
        self.text_of(size)
    }

    pub(super) fn value(&mut self, of: &Type) -> Result<Value> {
        self.depth += 1;
        // A type is at most 64 deep; variants in variants would have no end.
        if self.depth > 2 * MAX_DEPTH {
            return Err(Malformed("its values are too deep"));
        }
        let value = self.within(of);
        self.depth -= 1;
        value
    }

    fn within(&mut self, of: &Type) -> Result<Value> {
        Ok(match of {
            Type::Basic(code) => self.basic(*code)?,
            Type::Variant => {
                let inner = Type::single(&self.signature()?)?;
                self.value(&inner)?.boxed()
            }
            Type::Array(of) => {
                let size = self.size()?;
                if size > MAX_ARRAY {
                    return Err(Malformed("an array is too long"));
                }
                self.align(of.alignment())?;
                if **of == Type::Basic(b'y') {
                    return Ok(Value::Bytes(self.take(size)?.to_vec()));
                }
                let end = self.at.checked_add(size).filter(|end| *end <= self.bytes.len()).ok_or(Malformed("it ends early"))?;
                let mut elements = Vec::new();
                while self.at < end {
                    elements.push(self.value(of)?);
                }
                if self.at != end {
                    return Err(Malformed("an array does not end with its length"));
                }
                Value::Array((**of).clone(), elements)
            }
            Type::Struct(fields) => {
                self.align(8)?;
                Value::Struct(fields.iter().map(|f| self.value(f)).collect::<Result<_>>()?)
            }
            Type::Entry(entry) => {
                self.align(8)?;
                Value::Entry(Box::new((self.value(&entry.0)?, self.value(&entry.1)?)))
            }
        })
    }

    fn basic(&mut self, code: u8) -> Result<Value> {
        Ok(match code {
            b'y' => Value::Byte(self.byte()?),
            b'b' => match self.u32()? {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                _ => return Err(Malformed("a truth value is neither")),
            },
            b'n' => Value::Int16(i16::from_le_bytes(self.number()?)),
            b'q' => Value::Uint16(u16::from_le_bytes(self.number()?)),
            b'i' => Value::Int32(i32::from_le_bytes(self.number()?)),
            b'u' => Value::Uint32(self.u32()?),
            b'h' => Value::Descriptor(self.u32()?),
            b'x' => Value::Int64(i64::from_le_bytes(self.number()?)),
            b't' => Value::Uint64(u64::from_le_bytes(self.number()?)),
            b'd' => Value::Double(f64::from_le_bytes(self.number()?)),
            b's' => {
                let size = self.size()?;
                Value::String(self.text_of(size)?)
            }
            b'o' => {
                let size = self.size()?;
                let text = self.text_of(size)?;
                if !is_path(&text) {
                    return Err(Malformed("an object's path is none"));
                }
                Value::Path(text)
            }
            b'g' => {
                let text = self.signature()?;
                Type::all(&text)?;
                Value::Signature(text)
            }
            _ => return Err(Malformed("the signature has an unknown letter")),
        })
    }
}

/// `/`, or `/` and words of letters, digits and `_`, with a `/` between.
fn is_path(text: &str) -> bool {
    let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    text == "/" || text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(word))
}
