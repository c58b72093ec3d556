//! Files that can be read in one sitting, functions that fit on a screen.

use super::{Outcome, source};

const FILE_LINES: usize = 700;
const FUNCTION_LINES: usize = 80;

/// A file too long fails; a function too long is named.
pub(crate) fn check() -> Outcome {
    let mut faults = Vec::new();
    let mut long = Vec::new();
    let files = source::files()?;
    for path in &files {
        let text = source::read(path)?;
        let lines = text.lines().count();
        if lines > FILE_LINES {
            faults.push(format!("{}: {lines} lines; cut it by noun below {FILE_LINES}", path.display()));
        }
        for (name, line, length) in functions(&source::code(&text)) {
            if length > FUNCTION_LINES {
                long.push(format!("warning: {}:{line}: fn {name} has {length} lines, more than a screen", path.display()));
            }
        }
    }
    for text in &long {
        eprintln!("files: {text}");
    }
    let said = format!("{} files of at most {FILE_LINES} lines, {} functions of more than {FUNCTION_LINES}", files.len(), long.len());
    if faults.is_empty() { Ok(said) } else { Err(faults) }
}

/// `(name, first line, lines)` of the functions with a body in `code` (see [`source::code`]).
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut out = Vec::new();
    let bytes = code.as_bytes();
    let mut from = 0;
    while let Some(found) = code[from..].find("fn ") {
        let at = from + found;
        from = at + 3;
        if at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_') {
            continue;
        }
        let name: String = code[from..].chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == '#').collect();
        if name.is_empty() {
            continue; // a function pointer type
        }
        let Some(end) = body_end(bytes, from) else { continue };
        let line = |at: usize| bytes[..at].iter().filter(|b| **b == b'\n').count() + 1;
        out.push((name, line(at), line(end) - line(at) + 1));
    }
    out
}

/// Where the body closes; `None` for a declaration without one.
fn body_end(bytes: &[u8], from: usize) -> Option<usize> {
    let (mut depth, mut brackets) = (0usize, 0usize);
    for (at, byte) in bytes.iter().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => brackets += 1,
            b')' | b']' => brackets = brackets.saturating_sub(1),
            b';' if depth == 0 && brackets == 0 => return None,
            b'{' => depth += 1,
            b'}' if depth <= 1 => return (depth == 1).then_some(at),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_measured() {
        let code = "trait T { fn a(&self); }\nfn b(x: [u8; 2]) {\n if x {\n }\n}\nconst F: fn (u8) = c;\nfn r#d() -> u8 { 1 }\n";
        assert_eq!(functions(code), [("b".to_owned(), 2, 4), ("r#d".to_owned(), 7, 1)]);
    }
}
