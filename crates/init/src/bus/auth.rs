//! SASL as D-Bus has it: a peer says who it is, the kernel has said so already.
//!
//! ```text
//!  peer                                 we
//!   NUL AUTH EXTERNAL [UID] ──────►       OK GUID, or DATA when no uid was given
//!   DATA ───────────────────────────►     OK GUID
//!   NEGOTIATE_UNIX_FD ──────────────►     AGREE_UNIX_FD: clients ask nothing else without; what comes along the kernel closes
//!   BEGIN ──────────────────────────►     from here on messages
//! ```
//! A peer may send all of it at once. Pure: bytes in, bytes out.

/// Longest line, in bytes, and how many there may be.
const LINE_MAX: usize = 512;
const LINES_MAX: u32 = 16;

/// How far a peer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The NUL byte is not there yet.
    Nul,
    /// Nothing, or something wrong, was said.
    Auth,
    /// EXTERNAL without a uid: DATA follows.
    Data,
    /// It is who it says.
    Begin,
}

/// The conversation before the messages.
#[derive(Debug)]
pub(super) struct Auth {
    stage: Stage,
    lines: u32,
    /// In hexadecimal ASCII, as EXTERNAL has it.
    uid: String,
}

/// What comes of what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// More has to come.
    More,
    /// What is left are messages.
    Done,
    /// It is no D-Bus peer.
    Broken,
}

impl Auth {
    /// For a peer that the kernel says has this uid.
    pub(super) fn new(uid: u32) -> Auth {
        let uid = uid.to_string().bytes().map(|b| format!("{b:02x}")).collect();
        Auth { stage: Stage::Nul, lines: 0, uid }
    }

    /// Takes what it can off `input` and appends answers to `output`. `guid`: 32 hexadecimal digits.
    pub(super) fn feed(&mut self, input: &mut Vec<u8>, guid: &str, output: &mut Vec<u8>) -> Progress {
        if self.stage == Stage::Nul {
            match input.first() {
                None => return Progress::More,
                Some(0) => drop(input.drain(..1)),
                Some(_) => return Progress::Broken,
            }
            self.stage = Stage::Auth;
        }
        while let Some(end) = input.windows(2).position(|two| two == b"\r\n") {
            let line: Vec<u8> = input.drain(..end + 2).collect();
            self.lines += 1;
            let Ok(line) = std::str::from_utf8(line.get(..end).unwrap_or_default()) else { return Progress::Broken };
            if line == "BEGIN" {
                return if self.stage == Stage::Begin { Progress::Done } else { Progress::Broken };
            }
            if self.lines > LINES_MAX || line.len() > LINE_MAX {
                return Progress::Broken;
            }
            let answer = self.answer(line, guid);
            output.extend_from_slice(answer.as_bytes());
            output.extend_from_slice(b"\r\n");
        }
        if input.len() > LINE_MAX { Progress::Broken } else { Progress::More }
    }

    fn answer(&mut self, line: &str, guid: &str) -> String {
        let mut words = line.split(' ').filter(|word| !word.is_empty());
        let (verb, first, second) = (words.next().unwrap_or_default(), words.next(), words.next());
        let accepted = match (verb, self.stage) {
            ("AUTH", Stage::Auth | Stage::Data) if first == Some("EXTERNAL") => match second {
                None => {
                    self.stage = Stage::Data;
                    return "DATA".to_owned();
                }
                Some(said) => said.eq_ignore_ascii_case(&self.uid),
            },
            ("DATA", Stage::Data) => first.is_none_or(|said| said.eq_ignore_ascii_case(&self.uid)),
            ("NEGOTIATE_UNIX_FD", Stage::Begin) => return "AGREE_UNIX_FD".to_owned(),
            ("AUTH", Stage::Auth | Stage::Data) | ("CANCEL" | "ERROR", _) => false,
            _ => return "ERROR".to_owned(),
        };
        self.stage = if accepted { Stage::Begin } else { Stage::Auth };
        if accepted { format!("OK {guid}") } else { "REJECTED EXTERNAL".to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talk(parts: &[&[u8]]) -> (Progress, String, Vec<u8>) {
        let mut auth = Auth::new(0);
        let (mut input, mut output, mut found) = (Vec::new(), Vec::new(), Progress::More);
        for part in parts {
            input.extend_from_slice(part);
            found = auth.feed(&mut input, "abc", &mut output);
        }
        (found, String::from_utf8(output).unwrap(), input)
    }

    #[test]
    fn who_is_let_in() {
        use Progress::{Broken, Done, More};
        // as systemd's clients say it, old and new, in one piece or in several; what follows stays
        let new = b"\0AUTH EXTERNAL\r\nDATA\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\nl\x01";
        assert_eq!(talk(&[new]), (Done, "DATA\r\nOK abc\r\nAGREE_UNIX_FD\r\n".into(), b"l\x01".to_vec()));
        assert_eq!(talk(&[b"\0", b"AUTH EXTERNAL 30\r", b"\nBEGIN\r\n"]), (Done, "OK abc\r\n".into(), Vec::new()));
        assert_eq!(talk(&[b"\0AUTH\r\nAUTH EXTERNAL 31\r\n"]).1, "REJECTED EXTERNAL\r\nREJECTED EXTERNAL\r\n");
        assert_eq!(talk(&[b"\0AUTH ANONYMOUS\r\nAUTH EXTERNAL 30\r\nBEGIN\r\n"]).0, Done);
        for bad in [&b"x"[..], b"\0BEGIN\r\n", b"\0AUTH EXTERNAL\r\nBEGIN\r\n", b"\0AUTH EXTERNAL 31\r\nBEGIN\r\n", b"\0\xff\r\n", &[0; 600]] {
            assert_eq!(talk(&[bad]).0, Broken, "{bad:?}");
        }
        assert_eq!(talk(&[b"\0", &b"AUTH\r\n".repeat(17)]).0, Broken);
        assert_eq!(talk(&[b"\0AUTH EXT"]).0, More);
    }
}
