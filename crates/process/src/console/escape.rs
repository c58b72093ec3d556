//! The hot keys: `^]` three times within a second kills, `^]^]r` reboots, `^]^]p` powers off.

use std::time::{Duration, Instant};

/// What the person at the terminal asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hotkey {
    /// `^]^]^]`
    Kill,
    /// `^]^]r`
    Reboot,
    /// `^]^]p`
    PowerOff,
}

const ESCAPE: u8 = 0x1d; // ^]
const WITHIN: Duration = Duration::from_secs(1);

/// Finds hot keys in a stream of typed bytes.
#[derive(Debug, Default)]
pub struct Escape {
    count: u8,
    since: Option<Instant>,
}

impl Escape {
    /// Looks through bytes typed at `now`. When they complete a hot key: the index of the byte that did, and which.
    ///
    /// The completing byte is not for the machine; the `^]`s before it are, as they could not be told from others.
    pub fn scan(&mut self, bytes: &[u8], now: Instant) -> Option<(usize, Hotkey)> {
        for (at, &byte) in bytes.iter().enumerate() {
            if self.since.is_some_and(|since| now.saturating_duration_since(since) > WITHIN) {
                *self = Escape::default();
            }
            let hotkey = match (self.count, byte) {
                (2, ESCAPE) => Hotkey::Kill,
                (2, b'r') => Hotkey::Reboot,
                (2, b'p') => Hotkey::PowerOff,
                (_, ESCAPE) => {
                    self.since.get_or_insert(now);
                    self.count += 1;
                    continue;
                }
                _ => {
                    *self = Escape::default();
                    continue;
                }
            };
            *self = Escape::default();
            return Some((at, hotkey));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        // Keys as (milliseconds since the first, bytes); what is found in the last.
        type Keys = &'static [(u64, &'static [u8])];
        let cases: &[(Keys, Option<(usize, Hotkey)>)] = &[
            (&[(0, b"\x1d\x1d\x1d")], Some((2, Hotkey::Kill))),
            (&[(0, b"ab\x1d\x1dr")], Some((4, Hotkey::Reboot))),
            (&[(0, b"\x1d"), (400, b"\x1d"), (900, b"p")], Some((0, Hotkey::PowerOff))),
            (&[(0, b"\x1d"), (400, b"\x1d"), (1001, b"\x1d")], None),
            (&[(0, b"\x1d"), (1100, b"\x1d\x1d\x1d")], Some((2, Hotkey::Kill))),
            (&[(0, b"\x1d\x1dx\x1d")], None),
            (&[(0, b"\x1d\x1dxr")], None),
            (&[(0, b"r"), (1, b"\x1dr")], None),
            (&[(0, b"")], None),
        ];
        for (keys, expected) in cases {
            let start = Instant::now();
            let mut escape = Escape::default();
            let mut found = None;
            for (at, bytes) in *keys {
                found = escape.scan(bytes, start + Duration::from_millis(*at));
            }
            assert_eq!(found, *expected, "{keys:?}");
        }
    }
}
