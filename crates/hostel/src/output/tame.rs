//! Console output for a terminal: text, colours and line ends pass; whatever else a terminal would obey does not.
//!
//! A machine writes to its console what it likes, also sequences that retitle, reprogram or answer for the terminal of
//! whoever reads its log later.

/// Longest sequence looked at; a longer one is no colour.
const LONGEST: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Text,
    /// After 0xC2, which begins the UTF-8 form of the C1 controls.
    Wide,
    Escape,
    /// ESC and intermediate bytes: one more ends it.
    Designation,
    /// `ESC [`.
    Control,
    /// A string up to BEL or ESC \: titles, clipboards, device strings.
    String,
    /// ESC in such a string.
    StringEscape,
}

/// Filters a stream, in pieces of any size.
#[derive(Debug)]
pub struct Tame {
    state: State,
    sequence: Vec<u8>,
    coloured: bool,
}

impl Default for Tame {
    fn default() -> Self {
        Self { state: State::Text, sequence: Vec::new(), coloured: false }
    }
}

impl Tame {
    /// What of `bytes` may be shown.
    pub fn filter(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            self.state = self.step(byte, &mut out);
        }
        out
    }

    /// Puts colours back at the end, if there were any.
    pub fn end(&self) -> &'static [u8] {
        if self.coloured { b"\x1b[0m" } else { b"" }
    }

    fn step(&mut self, byte: u8, out: &mut Vec<u8>) -> State {
        match (self.state, byte) {
            // CAN and SUB end any sequence.
            (_, 0x18 | 0x1a) => State::Text,
            (State::String, 0x07) => State::Text,
            (State::String, 0x1b) => State::StringEscape,
            (State::String, _) => State::String,
            (State::StringEscape, b'\\') => State::Text,
            (State::StringEscape, 0x1b) => State::StringEscape,
            // Not its end: another sequence begins.
            (State::StringEscape, _) => self.escaped(byte),
            (State::Wide, 0x80..=0x9f) => State::Text,
            (State::Wide, _) => {
                out.push(0xc2);
                self.plain(byte, out)
            }
            (State::Text, _) => self.plain(byte, out),
            (_, 0x1b) => State::Escape,
            (State::Escape, _) => self.escaped(byte),
            (State::Designation, 0x20..=0x2f) => State::Designation,
            (State::Designation, _) => State::Text,
            (State::Control, b'\n' | b'\r' | b'\t') => {
                out.push(byte);
                State::Control
            }
            (State::Control, 0x20..=0x3f) => {
                if self.sequence.len() < LONGEST {
                    self.sequence.push(byte);
                }
                State::Control
            }
            (State::Control, b'm') => {
                if self.sequence.len() < LONGEST && self.sequence.iter().all(|b| matches!(b, b'0'..=b'9' | b';' | b':')) {
                    out.extend_from_slice(b"\x1b[");
                    out.extend_from_slice(&self.sequence);
                    out.push(b'm');
                    self.coloured = true;
                }
                State::Text
            }
            (State::Control, 0x00..=0x1f) => State::Control,
            (State::Control, _) => State::Text,
        }
    }

    fn plain(&mut self, byte: u8, out: &mut Vec<u8>) -> State {
        match byte {
            0x1b => return State::Escape,
            0xc2 => return State::Wide,
            b'\n' | b'\r' | b'\t' => out.push(byte),
            0x00..=0x1f | 0x7f => {}
            _ => out.push(byte),
        }
        State::Text
    }

    fn escaped(&mut self, byte: u8) -> State {
        match byte {
            b'[' => {
                self.sequence.clear();
                State::Control
            }
            b']' | b'P' | b'X' | b'^' | b'_' => State::String,
            0x20..=0x2f => State::Designation,
            _ => State::Text,
        }
    }
}
