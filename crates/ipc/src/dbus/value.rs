//! Values.

use super::signature::Type;

/// A value of any type.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `y`
    Byte(u8),
    /// `b`
    Bool(bool),
    /// `n`
    Int16(i16),
    /// `q`
    Uint16(u16),
    /// `i`
    Int32(i32),
    /// `u`
    Uint32(u32),
    /// `x`
    Int64(i64),
    /// `t`
    Uint64(u64),
    /// `d`
    Double(f64),
    /// `s`
    String(String),
    /// `o`
    Path(String),
    /// `g`
    Signature(String),
    /// `h`: the index of a descriptor that came along.
    Descriptor(u32),
    /// `ay`
    Bytes(Vec<u8>),
    /// `a…` of others: the type of the elements, and these.
    Array(Type, Vec<Value>),
    /// `(…)`
    Struct(Vec<Value>),
    /// `{..}`
    Entry(Box<(Value, Value)>),
    /// `v`
    Variant(Box<Value>),
}

impl Value {
    /// `s`
    pub fn text(text: impl Into<String>) -> Self {
        Self::String(text.into())
    }

    /// `v` of this.
    pub fn boxed(self) -> Self {
        Self::Variant(Box::new(self))
    }

    /// `as`
    pub fn texts<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::Array(Type::Basic(b's'), texts.into_iter().map(|t| Self::text(t.as_ref())).collect())
    }

    /// `a(sv)`, as systemd takes properties.
    pub fn properties(properties: Vec<(&str, Value)>) -> Self {
        let of = Type::Struct(vec![Type::Basic(b's'), Type::Variant]);
        Self::Array(of, properties.into_iter().map(|(name, value)| Self::Struct(vec![Self::text(name), value.boxed()])).collect())
    }

    /// Its type.
    pub fn of(&self) -> Type {
        let basic = |code: u8| Type::Basic(code);
        match self {
            Self::Byte(_) => basic(b'y'),
            Self::Bool(_) => basic(b'b'),
            Self::Int16(_) => basic(b'n'),
            Self::Uint16(_) => basic(b'q'),
            Self::Int32(_) => basic(b'i'),
            Self::Uint32(_) => basic(b'u'),
            Self::Int64(_) => basic(b'x'),
            Self::Uint64(_) => basic(b't'),
            Self::Double(_) => basic(b'd'),
            Self::String(_) => basic(b's'),
            Self::Path(_) => basic(b'o'),
            Self::Signature(_) => basic(b'g'),
            Self::Descriptor(_) => basic(b'h'),
            Self::Bytes(_) => Type::Array(Box::new(basic(b'y'))),
            Self::Array(of, _) => Type::Array(Box::new(of.clone())),
            Self::Struct(fields) => Type::Struct(fields.iter().map(Self::of).collect()),
            Self::Entry(entry) => Type::Entry(Box::new((entry.0.of(), entry.1.of()))),
            Self::Variant(_) => Type::Variant,
        }
    }

    /// The text of `s`, `o` and `g`.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::String(text) | Self::Path(text) | Self::Signature(text) => Some(text),
            _ => None,
        }
    }
}

/// The signature of several values.
pub(super) fn signature(values: &[Value]) -> String {
    let mut out = String::new();
    values.iter().for_each(|v| v.of().spell(&mut out));
    out
}
