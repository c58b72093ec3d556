//! `lxc-usernet`: how many interfaces on which bridge a user may have.

/// Sums up the lines `USER|@GROUP TYPE BRIDGE COUNT` that are about `user` or a group it is in, and about `bridge`.
pub fn allowed(text: &str, user: &str, groups: &[&str], kind: &str, bridge: &str) -> u32 {
    let mut sum = 0u32;
    for line in text.lines() {
        let words: Vec<&str> = line.split('#').next().unwrap_or("").split_ascii_whitespace().collect();
        let [who, of, on, count] = words[..] else { continue };
        let about = who == user || who.strip_prefix('@').is_some_and(|group| groups.contains(&group));
        if about && of == kind && on == bridge {
            sum = sum.saturating_add(count.parse().unwrap_or(0));
        }
    }
    sum
}
