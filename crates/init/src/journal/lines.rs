//! Bytes that come in pieces, as lines.

/// Longest line, in bytes, as journald's LineMax=; longer ones are cut into several.
pub const LINE_MAX: usize = 48 << 10;

/// The beginning of a line that has not ended.
#[derive(Debug, Default)]
pub struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Takes more bytes, and gives each line that is whole, or as long as one may be.
    pub fn push(&mut self, mut bytes: &[u8], each: &mut dyn FnMut(&[u8])) {
        while !bytes.is_empty() {
            let room = LINE_MAX - self.rest.len();
            let end = bytes.iter().take(room + 1).position(|b| *b == b'\n');
            match end {
                Some(end) if self.rest.is_empty() => each(&bytes[..end]),
                Some(end) => {
                    self.rest.extend_from_slice(&bytes[..end]);
                    each(&std::mem::take(&mut self.rest));
                }
                None if bytes.len() > room => {
                    self.rest.extend_from_slice(&bytes[..room]);
                    each(&std::mem::take(&mut self.rest));
                    bytes = &bytes[room..];
                    continue;
                }
                None => return self.rest.extend_from_slice(bytes),
            }
            bytes = &bytes[end.map_or(bytes.len(), |end| end + 1)..];
        }
    }

    /// What has begun.
    pub fn begun(&self) -> &[u8] {
        &self.rest
    }

    /// Gives what has begun and will not end.
    pub fn finish(&mut self, each: &mut dyn FnMut(&[u8])) {
        if !self.rest.is_empty() {
            each(&std::mem::take(&mut self.rest));
        }
    }
}

/// The level that `<N>` before a line says, and the line without it. Its facility does not count, as for journald's streams.
pub fn level(line: &[u8]) -> (Option<u8>, &[u8]) {
    let Some(end) = line.iter().take(5).position(|b| *b == b'>') else { return (None, line) };
    match line.get(1..end).map(std::str::from_utf8) {
        Some(Ok(digits)) if line[0] == b'<' && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            (digits.parse::<u16>().ok().map(|n| (n & 7) as u8), line.get(end + 1..).unwrap_or_default())
        }
        _ => (None, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        pieces.iter().for_each(|piece| lines.push(piece, &mut |line| found.push(line.to_vec())));
        lines.finish(&mut |line| found.push(line.to_vec()));
        found
    }

    #[test]
    fn lines() {
        assert_eq!(all(&[b"one\ntw", b"o\n", b"\nthree"]), [&b"one"[..], b"two", b"", b"three"]);
        let long = vec![b'x'; LINE_MAX * 2 + 5];
        for size in [1000, LINE_MAX - 1, LINE_MAX, LINE_MAX + 1, long.len()] {
            let pieces: Vec<&[u8]> = long.chunks(size).collect();
            assert_eq!(all(&pieces).iter().map(Vec::len).collect::<Vec<_>>(), [LINE_MAX, LINE_MAX, 5], "{size}");
        }
        let mut exact = vec![b'x'; LINE_MAX];
        exact.push(b'\n');
        assert_eq!(all(&[&exact]).len(), 1);
    }

    #[test]
    fn levels() {
        assert_eq!(level(b"<3>bad"), (Some(3), &b"bad"[..]));
        assert_eq!(level(b"<30>x"), (Some(6), &b"x"[..]));
        for plain in [&b"3>x"[..], b"<>x", b"<a>x", b"<1234>", b"", b"<", b"x<3>", b"<-1>"] {
            assert_eq!(level(plain), (None, plain));
        }
    }
}
