//! Lines of a file: as stored, and as meant, with comments gone and continuations joined.

use std::borrow::Cow;

use super::{FileError, LINE_MAX};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Lines as stored. A line ends in any of LF, CR and NUL, or several different ones of them: `\r\n` is one end, `\n\n` two.
struct Stored<'b> {
    rest: &'b [u8],
    number: u32,
}

impl<'b> Iterator for Stored<'b> {
    type Item = (u32, &'b [u8]);
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let is_end = |b: &u8| matches!(b, b'\n' | b'\r' | 0);
        let end = self.rest.iter().position(is_end).unwrap_or(self.rest.len());
        let (line, after) = self.rest.split_at(end);
        // at most three, all different
        let ends = (0..after.len()).take_while(|i| is_end(&after[*i]) && !after[..*i].contains(&after[*i])).count();
        self.rest = &after[ends..];
        self.number = self.number.saturating_add(1);
        Some((self.number, line))
    }
}

/// Lines as meant, each with the number of its first stored one. A backslash at the end joins the next line with a space between;
/// lines that begin with `#` or `;` vanish, between joined ones too. Every line is bounded by [`LINE_MAX`].
pub(super) fn logical(bytes: &[u8]) -> impl Iterator<Item = Result<(u32, Cow<'_, [u8]>), FileError>> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let mut stored = Stored { rest: bytes, number: 0 };
    std::iter::from_fn(move || {
        let mut joined: Option<(u32, Vec<u8>)> = None;
        loop {
            let Some((number, line)) = stored.next() else {
                // the file ends in a backslash
                return joined.take().map(|(first, text)| Ok((first, Cow::Owned(text))));
            };
            let comment = matches!(line.trim_ascii_start().first(), Some(b'#' | b';'));
            let before = if comment { 0 } else { joined.as_ref().map_or(0, |(_, text)| text.len()) };
            if before + line.len() > LINE_MAX {
                // whoever goes on reading would begin in the middle of a line
                stored.rest = &[];
                return Some(Err(FileError { line: number, why: "it is longer than 1 MiB".to_owned() }));
            }
            if comment {
                continue;
            }
            let backslashes = line.iter().rev().take_while(|b| **b == b'\\').count();
            let (text, goes_on) = if backslashes % 2 == 1 { (&line[..line.len() - 1], true) } else { (line, false) };
            match (&mut joined, goes_on) {
                (None, false) => return Some(Ok((number, Cow::Borrowed(text)))),
                (None, true) => joined = Some((number, [text, b" "].concat())),
                (Some((_, so_far)), true) => {
                    so_far.extend_from_slice(text);
                    so_far.push(b' ');
                }
                (Some((_, so_far)), false) => {
                    so_far.extend_from_slice(text);
                    return joined.take().map(|(first, text)| Ok((first, Cow::Owned(text))));
                }
            }
        }
    })
}
