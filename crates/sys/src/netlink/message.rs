//! Bytes of netlink messages: building requests, and taking apart what the kernel answers without trusting its lengths.

const HEADER: usize = 16;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLA_F_NESTED: u16 = 0x8000;
const NLA_TYPE: u16 = 0x3fff;

/// One request, complete but for its sequence number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request(Vec<u8>);

impl Request {
    /// A request that is acknowledged.
    pub(super) fn new(kind: u16, flags: u16) -> Self {
        Self::plain(kind, NLM_F_ACK | flags)
    }

    /// A request with these flags only: dumps, and the ends of a transaction.
    pub(super) fn plain(kind: u16, flags: u16) -> Self {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(&0u32.to_ne_bytes());
        out.extend_from_slice(&kind.to_ne_bytes());
        out.extend_from_slice(&(NLM_F_REQUEST | flags).to_ne_bytes());
        out.extend_from_slice(&[0; 8]);
        Request(out)
    }

    /// Its bytes, length and sequence number not filled in.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn is_acknowledged(&self) -> bool {
        u16::from_ne_bytes([self.0[6], self.0[7]]) & NLM_F_ACK != 0
    }

    pub(super) fn write(&self, sequence: u32, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.0);
        out[start..start + 4].copy_from_slice(&(self.0.len() as u32).to_ne_bytes());
        out[start + 8..start + 12].copy_from_slice(&sequence.to_ne_bytes());
        out.resize(out.len().next_multiple_of(4), 0);
    }

    /// Bytes of the family's own header.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn attr(&mut self, kind: u16, value: &[u8]) {
        let length = (value.len() + 4) as u16;
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    pub(super) fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attr(kind, &bytes);
    }

    /// A number in the host's byte order, as rtnetlink has it.
    pub(super) fn number(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_ne_bytes());
    }

    /// A number in network byte order, as nftables has it.
    pub(super) fn big(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_be_bytes());
    }

    pub(super) fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        fill(self);
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.0[start + 2..start + 4].copy_from_slice(&(kind | NLA_F_NESTED).to_ne_bytes());
    }
}

/// A message as received.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// What it is.
    pub kind: u16,
    /// Number of the request it answers.
    pub sequence: u32,
    /// What follows its header.
    pub body: &'a [u8],
}

/// The messages of one datagram; a damaged length ends them.
pub fn messages(bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let head = rest.get(..HEADER)?;
        let length = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let body = rest.get(HEADER..length)?;
        let message =
            Message { kind: u16::from_ne_bytes([head[4], head[5]]), sequence: u32::from_ne_bytes([head[8], head[9], head[10], head[11]]), body };
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// Attributes in a row.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a>(&'a [u8]);

/// The attributes behind a family header of `skip` bytes.
pub fn attributes(body: &[u8], skip: usize) -> Attributes<'_> {
    Attributes(body.get(skip.next_multiple_of(4)..).unwrap_or_default())
}

impl<'a> Attributes<'a> {
    /// All of them: (kind without flag bits, value).
    pub fn iter(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let head = rest.get(..4)?;
            let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
            let value = rest.get(4..length)?;
            let kind = u16::from_ne_bytes([head[2], head[3]]) & NLA_TYPE;
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            Some((kind, value))
        })
    }
    /// The first of this kind.
    pub fn get(self, kind: u16) -> Option<&'a [u8]> {
        self.iter().find(|(k, _)| *k == kind).map(|(_, value)| value)
    }
    /// A string without its NUL.
    pub fn text(self, kind: u16) -> Option<String> {
        let bytes = self.get(kind)?;
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }
    /// A number in the host's byte order.
    pub fn number(self, kind: u16) -> Option<u32> {
        Some(u32::from_ne_bytes(self.get(kind)?.get(..4)?.try_into().ok()?))
    }
    /// A number in network byte order.
    pub fn big(self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.get(..4)?.try_into().ok()?))
    }
    /// A nested row.
    pub fn nested(self, kind: u16) -> Attributes<'a> {
        Attributes(self.get(kind).unwrap_or_default())
    }
}
