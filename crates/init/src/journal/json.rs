//! Entries as JSON objects, as journalctl writes them: values that are no text are arrays of bytes, names that come again have an
//! array of all their values.

use super::record::Field;

/// Longer values are `null`, unless all is asked for.
const VALUE_MAX: usize = 4096;

/// Appends a text with its quotes.
pub fn string(out: &mut String, text: &str) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 || c == '\u{7f}' => {
                out.push_str("\\u00");
                out.push(DIGITS[(c as usize >> 4) & 15] as char);
                out.push(DIGITS[c as usize & 15] as char);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn value(out: &mut String, bytes: &[u8], all: bool) {
    if bytes.len() > VALUE_MAX && !all {
        return out.push_str("null");
    }
    // a control character other than a line feed or a tabulator makes it no text, as there
    match std::str::from_utf8(bytes).ok().filter(|text| !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t')) {
        Some(text) => string(out, text),
        None => {
            out.push('[');
            for (at, byte) in bytes.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                out.push_str(&byte.to_string());
            }
            out.push(']');
        }
    }
}

/// Appends an object of these fields; with `pretty` a line for each.
pub fn object(out: &mut String, fields: &[Field<'_>], all: bool, pretty: bool) {
    out.push('{');
    let mut first = true;
    for (at, (name, bytes)) in fields.iter().enumerate() {
        if fields.iter().take(at).any(|(before, _)| before == name) {
            continue;
        }
        out.push_str(match (first, pretty) {
            (true, true) => "\n\t",
            (true, false) => "",
            (false, true) => ",\n\t",
            (false, false) => ",",
        });
        first = false;
        string(out, name);
        out.push_str(if pretty { " : " } else { ":" });
        let mut others = fields.iter().skip(at + 1).filter(|(later, _)| later == name).peekable();
        if others.peek().is_none() {
            value(out, bytes, all);
            continue;
        }
        out.push('[');
        value(out, bytes, all);
        for (_, bytes) in others {
            out.push(',');
            value(out, bytes, all);
        }
        out.push(']');
    }
    out.push_str(if pretty { "\n}" } else { "}" });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects() {
        let long = vec![b'x'; VALUE_MAX + 1];
        let fields: [Field<'_>; 5] = [("A", b"a \"b\"\\\n"), ("B", b"\xff\0"), ("A", b"2"), ("C", &long), ("D", "ä\u{1b}".as_bytes())];
        let mut out = String::new();
        object(&mut out, &fields, false, false);
        assert_eq!(out, r#"{"A":["a \"b\"\\\n","2"],"B":[255,0],"C":null,"D":[195,164,27]}"#);
        out.clear();
        object(&mut out, &fields[1..2], true, true);
        assert_eq!(out, "{\n\t\"B\" : [255,0]\n}");
    }
}
