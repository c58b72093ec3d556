//! IPAddressAllow= and IPAddressDeny= of a service: two programs of its group, one that looks where packets come from, and one where
//! they go (systemd.resource-control(5)). What is allowed passes, then what is denied does not, then everything does.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use hostel_sys::bpf::{self, Hook, Insn, Reg};

use super::devices::{attached, replace};
use crate::load::Settings;

/// Why the keys have no effect where no program can be had.
pub(super) const NO_PROGRAM: &str = "it has no effect: no program that filters packets can be loaded here (that takes the host's CAP_BPF)";
/// The keys.
pub(super) const KEYS: [&str; 2] = ["IPAddressAllow", "IPAddressDeny"];
/// More networks than this are no list of a person's.
const RULES_MAX: usize = 256;

/// A network, and whether it is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    address: IpAddr,
    bits: u8,
    allow: bool,
}

/// Networks of a word.
fn networks(word: &str) -> Option<Vec<(IpAddr, u8)>> {
    let known = |four: ([u8; 4], u8), six: ([u16; 8], u8)| Some(vec![(IpAddr::from(four.0), four.1), (IpAddr::from(six.0), six.1)]);
    match word {
        "any" => return known(([0; 4], 0), ([0; 8], 0)),
        "localhost" => return known(([127, 0, 0, 0], 8), ([0, 0, 0, 0, 0, 0, 0, 1], 128)),
        "link-local" => return known(([169, 254, 0, 0], 16), ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 64)),
        "multicast" => return known(([224, 0, 0, 0], 4), ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8)),
        _ => {}
    }
    let (address, bits) = word.split_once('/').map_or((word, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Some(most), |bits| bits.parse().ok().filter(|bits| *bits <= most))?;
    Some(vec![(address, bits)])
}

/// Reads the settings; none: nothing is filtered.
pub(super) fn rules(s: &Settings, section: &str, complain: &mut dyn FnMut(String)) -> Vec<Rule> {
    let mut found = Vec::new();
    for (key, allow) in [(KEYS[0], true), (KEYS[1], false)] {
        for word in s.of(section, key).flat_map(|setting| setting.text().split_ascii_whitespace()) {
            match networks(word) {
                Some(list) => found.extend(list.into_iter().map(|(address, bits)| Rule { address, bits, allow })),
                None => complain(format!("{key}={}: it is no address, network or name of some, ignoring", hostel_unit::printable(word))),
            }
        }
    }
    if found.len() > RULES_MAX {
        complain(format!("{}= and {}= are more than {RULES_MAX} networks: of those allowed the rest is ignored", KEYS[0], KEYS[1]));
        // what is denied stays so: the last that are allowed go first
        let allowed = found.iter().filter(|rule| rule.allow).count();
        let over = found.len() - RULES_MAX;
        found.drain(allowed.saturating_sub(over)..allowed);
        if found.len() > RULES_MAX {
            // more than can be looked at for each packet: nothing passes
            found = networks("any").unwrap_or_default().into_iter().map(|(address, bits)| Rule { address, bits, allow: false }).collect();
        }
    }
    found
}

/// Puts the rules in the place of what was in force in exactly this group.
pub(super) fn put(rules: &[Rule], group: BorrowedFd<'_>) -> io::Result<()> {
    for (hook, name) in [(Hook::Ingress, "hostel_from"), (Hook::Egress, "hostel_to")] {
        let loaded = if rules.is_empty() { None } else { Some(bpf::load_program(hook, &program(rules, hook == Hook::Ingress), name)?) };
        replace(group, hook, loaded.as_ref().map(AsFd::as_fd), &attached(group, hook)?)?;
    }
    Ok(())
}

/// Of which protocol a packet is, in the order of bytes in which the kernel has it (linux/if_ether.h).
const fn protocol(number: u16) -> u32 {
    number.to_be() as u32
}
/// Byte offset of that in the context (`struct __sk_buff`).
const PROTOCOL: i16 = 16;
/// Where the address lies on the stack.
const PLACE: i16 = -16;

/// r6 = context, r7 = protocol; the address on the stack.
fn program(rules: &[Rule], incoming: bool) -> Vec<Insn> {
    let mut out = vec![Insn::copy(Reg::R6, Reg::R1), Insn::load32(Reg::R7, Reg::R6, PROTOCOL)];
    for (number, length, offset) in [(0x0800, 4, if incoming { 12 } else { 16 }), (0x86dd, 16, if incoming { 8 } else { 24 })] {
        let mut part = vec![
            Insn::copy(Reg::R1, Reg::R6),
            Insn::set(Reg::R2, offset),
            Insn::copy(Reg::R3, Reg::R10),
            Insn::add(Reg::R3, i32::from(PLACE)),
            Insn::set(Reg::R4, length),
            Insn::load_packet(),
            // what is too short to tell is dropped
            Insn::jump_if_not_equal(Reg::R0, 0, 1),
            Insn::jump_always(2),
            Insn::set(Reg::R0, 0),
            Insn::exit(),
        ];
        let is_of = |rule: &&Rule| rule.address.is_ipv4() == (length == 4);
        // networks that are allowed come first; after one that is all of them nothing may follow: the kernel wants no dead code
        let of_all = rules.iter().filter(is_of).position(|rule| rule.bits == 0);
        for rule in rules.iter().filter(is_of).take(of_all.map_or(usize::MAX, |at| at + 1)) {
            part.extend(test(rule));
        }
        if of_all.is_none() {
            part.extend([Insn::set(Reg::R0, 1), Insn::exit()]);
        }
        out.push(Insn::jump_if_not_equal32(Reg::R7, protocol(number), part.len() as i16));
        out.extend(part);
    }
    out.extend([Insn::set(Reg::R0, 1), Insn::exit()]);
    out
}

/// Ends the program if the address is in the network.
fn test(rule: &Rule) -> Vec<Insn> {
    let bytes = match rule.address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let mut words = Vec::new();
    for (at, word) in bytes.chunks_exact(4).enumerate() {
        let left = usize::from(rule.bits).saturating_sub(at * 32).min(32) as u32;
        let mask = u32::MAX.checked_shl(32 - left).unwrap_or(0).to_be();
        let word = u32::from_ne_bytes([word[0], word[1], word[2], word[3]]) & mask;
        if left > 0 {
            words.push((PLACE + 4 * at as i16, mask, word));
        }
    }
    let mut out = Vec::new();
    for (number, (place, mask, word)) in words.iter().enumerate() {
        // past the words that follow, and the verdict
        let past = (words.len() - number - 1) * 3 + 2;
        let masked = Insn::and(Reg::R2, *mask as i32);
        out.extend([Insn::load32(Reg::R2, Reg::R10, *place), masked, Insn::jump_if_not_equal32(Reg::R2, *word, past as i16)]);
    }
    out.extend([Insn::set(Reg::R0, i32::from(rule.allow)), Insn::exit()]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    /// Runs the instructions that are made here on a packet; panics at any other.
    fn run(program: &[Insn], protocol: u32, packet: &[u8]) -> bool {
        let (mut r, mut stack, mut at) = ([0u64; 11], [0u8; 16], 0usize);
        loop {
            let insn = program[at];
            at += 1;
            let (dst, src) = (insn.regs as usize & 15, insn.regs as usize >> 4);
            let imm = insn.imm as i64 as u64;
            match (insn.code, src) {
                (0x61, 10) => {
                    let from = (16 + insn.off) as usize;
                    r[dst] = u64::from(u32::from_ne_bytes(stack[from..from + 4].try_into().unwrap()));
                }
                (0x61, _) => r[dst] = u64::from(protocol),
                (0xbf, _) => r[dst] = r[src],
                (0xb7, _) => r[dst] = imm,
                (0x07, _) => r[dst] = r[dst].wrapping_add(imm),
                (0x57, _) => r[dst] &= imm,
                (0x85, _) => {
                    let (from, count) = (r[2] as usize, r[4] as usize);
                    r[0] = u64::from(packet.len() < from + count);
                    if r[0] == 0 {
                        stack[..count].copy_from_slice(&packet[from..from + count]);
                    }
                }
                (0x05, _) => at += insn.off as usize,
                (0x55, _) if r[dst] != imm => at += insn.off as usize,
                (0x56, _) if r[dst] as u32 != insn.imm as u32 => at += insn.off as usize,
                (0x55 | 0x56, _) => {}
                (0x95, _) => return r[0] == 1,
                (code, _) => panic!("unknown instruction {code:#x}"),
            }
        }
    }

    fn of(keys: &str) -> (Vec<Rule>, usize) {
        let tree = Tree::new("packets");
        tree.unit("a.service", &format!("[Service]\nExecStart=/bin/a\n{keys}"));
        let mut said = 0;
        let unit = tree.load("a.service");
        (rules(&unit.settings, "Service", &mut |_| said += 1), said)
    }

    /// Whether a packet from an address comes in, and whether one to it goes out.
    fn passes(rules: &[Rule], address: &str) -> (bool, bool) {
        let one = |incoming| match address.parse().unwrap() {
            IpAddr::V4(address) => {
                let mut packet = [0u8; 20];
                let at = if incoming { 12 } else { 16 };
                packet[at..at + 4].copy_from_slice(&address.octets());
                run(&program(rules, incoming), protocol(0x0800), &packet)
            }
            IpAddr::V6(address) => {
                let mut packet = [0u8; 40];
                let at = if incoming { 8 } else { 24 };
                packet[at..at + 16].copy_from_slice(&address.octets());
                run(&program(rules, incoming), protocol(0x86dd), &packet)
            }
        };
        (one(true), one(false))
    }

    #[test]
    fn verdicts() {
        let (all, said) = of("IPAddressAllow=localhost 192.168.200.129/25\nIPAddressAllow=2001:db8:8000::/33 x 1.2.3.4/33\nIPAddressDeny=any");
        assert_eq!((all.len(), said), (6, 2));
        for (address, good) in [
            ("127.9.9.9", true),
            ("::1", true),
            ("::2", false),
            ("192.168.200.200", true),
            ("192.168.200.100", false),
            ("2001:db8:8000::5", true),
            ("2001:db8:7000::5", false),
            ("8.8.8.8", false),
        ] {
            assert_eq!(passes(&all, address), (good, good), "{address}");
        }
        let (some, _) = of("IPAddressDeny=10.0.0.0/8 multicast link-local");
        for (address, good) in [("10.1.1.1", false), ("11.1.1.1", true), ("224.0.0.1", false), ("ff02::1", false), ("fe80::1", false), ("::1", true)]
        {
            assert_eq!(passes(&some, address), (good, good), "{address}");
        }
        // other protocols pass; what is cut off does not
        assert!(run(&program(&all, true), protocol(0x0806), &[]));
        assert!(!run(&program(&all, true), protocol(0x0800), &[0; 15]));
        assert!(of("").0.is_empty());
    }

    #[test]
    fn the_kernel_takes_the_programs() {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("passed over: it needs root");
        }
        let (all, _) = of("IPAddressAllow=localhost 2001:db8::/33 10.0.0.7\nIPAddressDeny=any");
        for hook in [Hook::Ingress, Hook::Egress] {
            bpf::load_program(hook, &program(&all, hook == Hook::Ingress), "hostel_test").unwrap();
        }
    }

    #[test]
    fn what_is_denied_stays_denied() {
        let many: String = (0..300).map(|n| format!("IPAddressAllow=10.{}.{}.0/24\n", n / 256, n % 256)).collect();
        let (rules, said) = of(&format!("{many}IPAddressDeny=any\n"));
        assert!(rules.len() <= RULES_MAX && said == 1, "{}", rules.len());
        assert_eq!((passes(&rules, "10.0.1.1"), passes(&rules, "192.0.2.1")), ((true, true), (false, false)));
        let many: String = (0..300).map(|n| format!("IPAddressDeny=10.{}.{}.0/24\n", n / 256, n % 256)).collect();
        let (rules, _) = of(&many);
        assert_eq!((passes(&rules, "10.1.43.1"), passes(&rules, "192.0.2.1")), ((false, false), (false, false)));
    }
}
