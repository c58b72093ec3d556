//! DHCPv4 for one client and one address (RFC 2131, RFC 2132): bytes in, bytes out.
//!
//! What comes in is written by a machine and not trusted: every length is checked, nothing of a request but its fixed
//! header fields is sent back, and whatever is odd gets no answer.

use std::net::Ipv4Addr;
use std::time::Duration;

/// Longest request that is looked at.
pub const MAX_REQUEST: usize = 1500;
/// Shortest answer: old clients drop what is shorter than a BOOTP message.
const MIN_REPLY: usize = 300;
/// Fixed header with the magic cookie.
const HEADER: usize = 240;
const MAGIC: [u8; 4] = [99, 130, 83, 99];
const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const ETHERNET: u8 = 1;

mod option {
    pub(super) const PAD: u8 = 0;
    pub(super) const NETMASK: u8 = 1;
    pub(super) const ROUTER: u8 = 3;
    pub(super) const DNS: u8 = 6;
    pub(super) const HOSTNAME: u8 = 12;
    pub(super) const DOMAIN: u8 = 15;
    pub(super) const BROADCAST: u8 = 28;
    pub(super) const REQUESTED: u8 = 50;
    pub(super) const LEASE_TIME: u8 = 51;
    pub(super) const KIND: u8 = 53;
    pub(super) const SERVER: u8 = 54;
    pub(super) const RENEWAL: u8 = 58;
    pub(super) const REBINDING: u8 = 59;
    pub(super) const END: u8 = 255;
}

/// What a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // RFC 2131 section 3
pub enum Kind {
    Discover,
    Request,
    Decline,
    Release,
    Inform,
}

/// A well-formed message of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// What it asks.
    pub kind: Kind,
    /// Transaction.
    pub xid: [u8; 4],
    /// Wants its answer by broadcast.
    pub broadcast: bool,
    /// The address it uses already.
    pub client: Ipv4Addr,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// The address it wants.
    pub requested: Option<Ipv4Addr>,
    /// The server it talks to.
    pub server: Option<Ipv4Addr>,
}

impl Query {
    /// Reads a message; `None` when it is not one of an Ethernet client without a relay.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_REQUEST {
            return None;
        }
        let head = bytes.get(..HEADER)?;
        let relayed = head[24..28] != [0; 4];
        if head[..3] != [REQUEST, ETHERNET, 6] || head[236..240] != MAGIC || relayed {
            return None;
        }
        let mut kind = None;
        let (mut requested, mut server) = (None, None);
        for (code, value) in options(&bytes[HEADER..])? {
            let address = || <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from);
            match code {
                option::KIND if kind.is_some() => return None,
                option::KIND => {
                    kind = Some(match *value {
                        [1] => Kind::Discover,
                        [3] => Kind::Request,
                        [4] => Kind::Decline,
                        [7] => Kind::Release,
                        [8] => Kind::Inform,
                        _ => return None,
                    });
                }
                option::REQUESTED => requested = Some(address()?),
                option::SERVER => server = Some(address()?),
                _ => {}
            }
        }
        let field = |at: usize| [head[at], head[at + 1], head[at + 2], head[at + 3]];
        Some(Self {
            kind: kind?,
            xid: field(4),
            broadcast: head[10] & 0x80 != 0,
            client: Ipv4Addr::from(field(12)),
            mac: [head[28], head[29], head[30], head[31], head[32], head[33]],
            requested,
            server,
        })
    }
}

/// The options of a message; `None` when one runs over the end or none ends them. At most 255 are kept.
fn options(mut bytes: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut out = Vec::new();
    loop {
        match *bytes.first()? {
            option::END => return Some(out),
            option::PAD => bytes = &bytes[1..],
            code => {
                let length = usize::from(*bytes.get(1)?);
                if out.len() == 255 {
                    return None;
                }
                out.push((code, bytes.get(2..2 + length)?));
                bytes = &bytes[2 + length..];
            }
        }
    }
}

/// What the client gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its address.
    pub address: Ipv4Addr,
    /// Prefix length.
    pub prefix: u8,
    /// Router, name server and DHCP server.
    pub router: Ipv4Addr,
    /// Its host name.
    pub hostname: String,
    /// Domain of machine names.
    pub domain: String,
    /// How long it may keep the address without asking again.
    pub lease: Duration,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Bytes.
    pub bytes: Vec<u8>,
    /// Where it goes; `None`: broadcast, as the client has no address yet.
    pub to: Option<Ipv4Addr>,
}

impl Offer {
    /// The answer to a request, if there is one (RFC 2131 section 4.3).
    pub fn answer(&self, query: &Query) -> Option<Reply> {
        let wanted = query.requested.unwrap_or(query.client);
        match query.kind {
            Kind::Discover => Some(self.reply(query, 2)),
            // It chose another server.
            Kind::Request if query.server.is_some_and(|s| s != self.router) => None,
            Kind::Request if wanted == self.address => Some(self.reply(query, 5)),
            Kind::Request => Some(self.reply(query, 6)),
            Kind::Inform => Some(self.reply(query, 5)),
            // The address is the machine's for as long as it runs, whatever it says of it.
            Kind::Decline | Kind::Release => None,
        }
    }

    fn reply(&self, query: &Query, kind: u8) -> Reply {
        const NAK: u8 = 6;
        let inform = query.kind == Kind::Inform;
        let given = if inform || kind == NAK { Ipv4Addr::UNSPECIFIED } else { self.address };
        let mut out = vec![0u8; HEADER];
        out[..3].copy_from_slice(&[REPLY, ETHERNET, 6]);
        out[4..8].copy_from_slice(&query.xid);
        out[10] = if query.broadcast { 0x80 } else { 0 };
        if kind != NAK {
            out[12..16].copy_from_slice(&query.client.octets());
        }
        out[16..20].copy_from_slice(&given.octets());
        out[28..34].copy_from_slice(&query.mac);
        out[236..240].copy_from_slice(&MAGIC);
        let mut put = |code: u8, value: &[u8]| {
            // No option is longer than its length byte can say.
            let value = &value[..value.len().min(255)];
            out.extend_from_slice(&[code, value.len() as u8]);
            out.extend_from_slice(value);
        };
        put(option::KIND, &[kind]);
        put(option::SERVER, &self.router.octets());
        if kind != NAK {
            let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
            if !inform {
                let seconds = self.lease.as_secs() as u32;
                for (code, time) in [(option::LEASE_TIME, seconds), (option::RENEWAL, seconds / 2), (option::REBINDING, seconds / 8 * 7)] {
                    put(code, &time.to_be_bytes());
                }
            }
            put(option::NETMASK, &mask.to_be_bytes());
            put(option::BROADCAST, &(u32::from(self.address) | !mask).to_be_bytes());
            put(option::ROUTER, &self.router.octets());
            put(option::DNS, &self.router.octets());
            put(option::HOSTNAME, self.hostname.as_bytes());
            put(option::DOMAIN, self.domain.as_bytes());
        }
        out.push(option::END);
        out.resize(out.len().max(MIN_REPLY), 0);
        // A refusal is for a client whose address is not valid here.
        let to = (kind != NAK && !query.client.is_unspecified()).then_some(query.client);
        Reply { bytes: out, to }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 208, 0, 2);
    const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 208, 0, 1);

    fn offer() -> Offer {
        Offer { address: A, prefix: 30, router: ROUTER, hostname: "web".into(), domain: "hostel".into(), lease: Duration::from_secs(3600) }
    }

    fn message(kind: u8, more: &[u8]) -> Vec<u8> {
        let mut out = vec![0u8; HEADER];
        out[..3].copy_from_slice(&[1, 1, 6]);
        out[4..8].copy_from_slice(b"xid!");
        out[28..34].copy_from_slice(&[2, 0, 0, 0, 0, 7]);
        out[236..240].copy_from_slice(&MAGIC);
        out.extend_from_slice(&[0, 53, 1, kind]);
        out.extend_from_slice(more);
        out.push(255);
        out
    }

    fn kind_of(reply: &Reply) -> u8 {
        let found = options(&reply.bytes[HEADER..]).expect("options");
        found.iter().find(|(code, _)| *code == 53).expect("a kind").1[0]
    }

    #[test]
    fn the_four_steps() {
        let discover = Query::parse(&message(1, &[])).expect("discover");
        let reply = offer().answer(&discover).expect("offer");
        assert_eq!((kind_of(&reply), &reply.bytes[16..20], reply.to), (2, &A.octets()[..], None));
        assert!(reply.bytes.len() >= 300 && reply.bytes[4..8] == *b"xid!");
        let wish = [&[50, 4][..], &A.octets(), &[54, 4], &ROUTER.octets()].concat();
        let reply = offer().answer(&Query::parse(&message(3, &wish)).expect("request")).expect("ack");
        assert_eq!(kind_of(&reply), 5);
        let found = options(&reply.bytes[HEADER..]).expect("options");
        for (code, value) in [(1, vec![255, 255, 255, 252]), (3, ROUTER.octets().to_vec()), (12, b"web".to_vec()), (51, vec![0, 0, 14, 16])] {
            assert!(found.contains(&(code, &value)), "{code}: {found:?}");
        }
    }

    #[test]
    fn renewals_refusals_and_silence() {
        let mut renewal = message(3, &[]);
        renewal[12..16].copy_from_slice(&A.octets());
        let reply = offer().answer(&Query::parse(&renewal).expect("renewal")).expect("ack");
        assert_eq!((kind_of(&reply), reply.to), (5, Some(A)));
        let other = Query::parse(&message(3, &[50, 4, 192, 168, 1, 1])).expect("request");
        let refusal = offer().answer(&other).expect("nak");
        assert_eq!((kind_of(&refusal), &refusal.bytes[16..20], refusal.to), (6, &[0; 4][..], None));
        assert_eq!(offer().answer(&Query::parse(&message(3, &[54, 4, 1, 2, 3, 4])).expect("request")), None, "another server's");
        assert_eq!(offer().answer(&Query::parse(&message(7, &[])).expect("release")), None);
        let mut inform = message(8, &[]);
        inform[12..16].copy_from_slice(&A.octets());
        let reply = offer().answer(&Query::parse(&inform).expect("inform")).expect("ack");
        assert!(reply.bytes[16..20] == [0; 4] && !options(&reply.bytes[HEADER..]).expect("options").iter().any(|(c, _)| *c == 51));
    }

    #[test]
    fn what_is_odd_is_not_read() {
        let good = message(1, &[]);
        assert!(Query::parse(&good).is_some());
        for cut in 0..good.len() {
            assert_eq!(Query::parse(&good[..cut]), None, "cut at {cut}");
        }
        for (at, byte) in [(0, 2), (1, 6), (2, 16), (24, 10), (236, 0)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(Query::parse(&bad), None, "byte {at}");
        }
        for odd in [&[50, 3, 1, 2, 3][..], &[53, 1, 1], &[12, 255], &[54, 0]] {
            assert_eq!(Query::parse(&message(1, odd)), None, "{odd:?}");
        }
        assert_eq!(Query::parse(&message(9, &[])), None);
        assert_eq!(Query::parse(&vec![0; MAX_REQUEST + 1]), None);
    }
}
