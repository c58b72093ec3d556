//! Types, and the signatures that spell them.

use super::{Malformed, Result};

/// Containers within containers, of each kind.
pub(super) const MAX_DEPTH: u32 = 32;
/// Longest signature, in bytes.
const MAX_SIGNATURE: usize = 255;

/// One complete type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// One of `ybnqiuxtdsogh`.
    Basic(u8),
    /// `v`: says its own type.
    Variant,
    /// `a…`
    Array(Box<Type>),
    /// `(…)`
    Struct(Vec<Type>),
    /// `{..}`: an entry of a dictionary; only an array has it.
    Entry(Box<(Type, Type)>),
}

impl Type {
    /// All types of a signature.
    pub fn all(signature: &str) -> Result<Vec<Type>> {
        if signature.len() > MAX_SIGNATURE {
            return Err(Malformed("the signature is too long"));
        }
        let mut rest = signature.as_bytes();
        let mut types = Vec::new();
        while !rest.is_empty() {
            types.push(one(&mut rest, 0, 0)?);
        }
        Ok(types)
    }

    /// A signature of exactly one type, as a variant has it.
    pub fn single(signature: &str) -> Result<Type> {
        let mut types = Self::all(signature)?;
        match (types.pop(), types.is_empty()) {
            (Some(only), true) => Ok(only),
            _ => Err(Malformed("the signature is not of one type")),
        }
    }

    /// Writes the signature.
    pub(super) fn spell(&self, out: &mut String) {
        match self {
            Self::Basic(code) => out.push(char::from(*code)),
            Self::Variant => out.push('v'),
            Self::Array(of) => {
                out.push('a');
                of.spell(out);
            }
            Self::Struct(fields) => {
                out.push('(');
                fields.iter().for_each(|f| f.spell(out));
                out.push(')');
            }
            Self::Entry(entry) => {
                out.push('{');
                entry.0.spell(out);
                entry.1.spell(out);
                out.push('}');
            }
        }
    }

    /// What its values' places are multiples of, in bytes.
    pub(super) fn alignment(&self) -> usize {
        match self {
            Self::Basic(b'y' | b'g') | Self::Variant => 1,
            Self::Basic(b'n' | b'q') => 2,
            Self::Basic(b'x' | b't' | b'd') | Self::Struct(_) | Self::Entry(_) => 8,
            Self::Basic(_) | Self::Array(_) => 4,
        }
    }
}

impl std::fmt::Display for Type {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        self.spell(&mut text);
        f.write_str(&text)
    }
}

fn is_basic(code: u8) -> bool {
    b"ybnqiuxtdsogh".contains(&code)
}

fn one(rest: &mut &[u8], arrays: u32, structs: u32) -> Result<Type> {
    if arrays > MAX_DEPTH || structs > MAX_DEPTH {
        return Err(Malformed("the signature is too deep"));
    }
    let (&code, after) = rest.split_first().ok_or(Malformed("the signature ends within a type"))?;
    *rest = after;
    match code {
        b'v' => Ok(Type::Variant),
        b'a' if rest.first() == Some(&b'{') => {
            *rest = &rest[1..];
            let key = one(rest, arrays + 1, structs + 1)?;
            let value = one(rest, arrays + 1, structs + 1)?;
            if !matches!(key, Type::Basic(_)) {
                return Err(Malformed("the key of a dictionary is no basic type"));
            }
            close(rest, b'}')?;
            Ok(Type::Array(Box::new(Type::Entry(Box::new((key, value))))))
        }
        b'a' => Ok(Type::Array(Box::new(one(rest, arrays + 1, structs)?))),
        b'(' => {
            let mut fields = Vec::new();
            while rest.first() != Some(&b')') {
                fields.push(one(rest, arrays, structs + 1)?);
            }
            close(rest, b')')?;
            if fields.is_empty() { Err(Malformed("a struct is empty")) } else { Ok(Type::Struct(fields)) }
        }
        code if is_basic(code) => Ok(Type::Basic(code)),
        _ => Err(Malformed("the signature has an unknown letter")),
    }
}

fn close(rest: &mut &[u8], with: u8) -> Result<()> {
    match rest.split_first() {
        Some((code, after)) if *code == with => {
            *rest = after;
            Ok(())
        }
        _ => Err(Malformed("the signature has an open bracket")),
    }
}
