//! Rust sources as text: which files there are, and a file without its comments and literals.

use std::path::{Path, PathBuf};

/// Every Rust file of the repository, relative to its top, sorted. Builds, caches and hidden directories are left out.
pub(crate) fn files() -> Result<Vec<PathBuf>, Vec<String>> {
    let root = super::root();
    let mut out = Vec::new();
    let mut left = vec![root.clone()];
    while let Some(dir) = left.pop() {
        let entries = std::fs::read_dir(&dir).map_err(|e| vec![format!("read {}: {e}", dir.display())])?;
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_string_lossy();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && !name.starts_with('.') && name != "target" && name != "corpus" => left.push(path),
                Ok(kind) if kind.is_file() && name.ends_with(".rs") => out.push(path.strip_prefix(&root).map_or(path.clone(), Path::to_path_buf)),
                _ => {}
            }
        }
    }
    out.sort();
    Ok(out)
}

/// Reads a file by its path from the top.
pub(crate) fn read(path: &Path) -> Result<String, Vec<String>> {
    std::fs::read_to_string(super::root().join(path)).map_err(|e| vec![format!("read {}: {e}", path.display())])
}

/// The text with comments, strings and character literals blanked; line breaks stay, so line numbers hold.
pub(crate) fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = literal(bytes, at);
        if end == at {
            out.push(bytes[at]);
            at += 1;
        } else {
            out.extend(bytes[at..end].iter().map(|b| if *b == b'\n' { b'\n' } else { b' ' }));
            at = end;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the comment or literal that begins at `at` ends; `at` when none does.
fn literal(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        return at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return block_comment(bytes, at);
    }
    let inside_word = at > 0 && is_word(bytes[at - 1]);
    match rest[0] {
        b'"' => string(bytes, at),
        b'r' if !inside_word => raw_string(bytes, at, at + 1),
        b'b' | b'c' if !inside_word && rest.get(1) == Some(&b'r') => raw_string(bytes, at, at + 2),
        b'\'' => character(bytes, at),
        _ => at,
    }
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

fn block_comment(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start + 2, 1);
    while at < bytes.len() && depth > 0 {
        match &bytes[at..] {
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
    }
    at.min(bytes.len())
}

fn string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// `r"…"`, `r#"…"#`; a raw identifier (`r#become`) is none.
fn raw_string(bytes: &[u8], start: usize, from: usize) -> usize {
    let hashes = bytes[from..].iter().take_while(|b| **b == b'#').count();
    if bytes.get(from + hashes) != Some(&b'"') {
        return start;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let body = from + hashes + 1;
    bytes[body..].windows(close.len()).position(|w| w == close).map_or(bytes.len(), |found| body + found + close.len())
}

/// `'x'`, `'\n'`; a lifetime is none.
fn character(bytes: &[u8], start: usize) -> usize {
    let after = match &bytes[start + 1..] {
        [b'\\', _, rest @ ..] => rest.iter().position(|b| *b == b'\'').map(|found| start + 3 + found + 1),
        [first, ..] => {
            let width = match first {
                0..=0x7f => 1,
                0x80..=0xdf => 2,
                0xe0..=0xef => 3,
                _ => 4,
            };
            (bytes.get(start + 1 + width) == Some(&b'\'')).then_some(start + 2 + width)
        }
        [] => None,
    };
    after.unwrap_or(start)
}

/// Words of `code` with their line, from 1.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.lines().enumerate().flat_map(|(number, line)| {
        line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).map(move |word| (number + 1, word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_comments_are_blanked() {
        for (text, expected) in [
            ("a // unsafe\nb", "a ~~~~~~~~~\nb"),
            ("a/* x /* y */ z */b", "a~~~~~~~~~~~~~~~~~b"),
            (r#"f("un\"safe")g"#, "f(~~~~~~~~~~)g"),
            (r##"r#"x"y"#z"##, "~~~~~~~~z"),
            ("r#become", "r#become"),
            ("fn<'a>(x:&'a u8){'x'}", "fn<'a>(x:&'a u8){~~~}"),
            ("'\\'''{''\\u{1f}'b'\"'c", "~~~~~~~~~~~~~~~b~~~c"),
            ("'ü'x", "~~~~x"),
            ("\"unclosed", "~~~~~~~~~"),
        ] {
            assert_eq!(code(text), expected.replace('~', " "), "{text}");
        }
    }
}
