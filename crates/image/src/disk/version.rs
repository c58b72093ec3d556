//! The order of versions in partition labels (Version Format Specification, UAPI.10): `os_9` before `os_10`.

use std::cmp::Ordering;

/// Compares two labels: the greater one is the newer system.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        a = skip(a);
        b = skip(b);
        // `~` goes before everything, the end of the string among it: 1~rc1 is older than 1.
        if let Some(order) = mark(&mut a, &mut b, b'~', Ordering::Less) {
            return order;
        }
        if a.is_empty() || b.is_empty() {
            return a.len().min(1).cmp(&b.len().min(1));
        }
        for c in *b"-^." {
            if let Some(order) = mark(&mut a, &mut b, c, Ordering::Less) {
                return order;
            }
        }
        let digits = a.first().is_some_and(u8::is_ascii_digit) || b.first().is_some_and(u8::is_ascii_digit);
        let (run_a, run_b) = if digits { (take(&mut a, u8::is_ascii_digit), take(&mut b, u8::is_ascii_digit)) } else { letters(&mut a, &mut b) };
        let order = if digits { numbers(run_a, run_b) } else { words(run_a, run_b) };
        if order != Ordering::Equal {
            return order;
        }
        if a.is_empty() && b.is_empty() {
            return Ordering::Equal;
        }
    }
}

/// What separates parts without meaning anything.
fn skip(s: &[u8]) -> &[u8] {
    let meaning = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'~' | b'-' | b'^' | b'.');
    &s[s.iter().position(meaning).unwrap_or(s.len())..]
}

/// When only one of the two has the mark here, that decides: the one with it is `with`. When both have it, both move on.
fn mark(a: &mut &[u8], b: &mut &[u8], c: u8, with: Ordering) -> Option<Ordering> {
    match (a.first() == Some(&c), b.first() == Some(&c)) {
        (true, true) => {
            (*a, *b) = (&a[1..], &b[1..]);
            None
        }
        (true, false) => Some(with),
        (false, true) => Some(with.reverse()),
        (false, false) => None,
    }
}

fn take<'a>(s: &mut &'a [u8], belongs: fn(&u8) -> bool) -> &'a [u8] {
    let end = s.iter().position(|c| !belongs(c)).unwrap_or(s.len());
    let (run, rest) = s.split_at(end);
    *s = rest;
    run
}

fn letters<'a>(a: &mut &'a [u8], b: &mut &'a [u8]) -> (&'a [u8], &'a [u8]) {
    (take(a, u8::is_ascii_alphabetic), take(b, u8::is_ascii_alphabetic))
}

/// A number beats letters and nothing.
fn numbers(a: &[u8], b: &[u8]) -> Ordering {
    if a.is_empty() || b.is_empty() {
        return a.len().min(1).cmp(&b.len().min(1));
    }
    let strip = |s: &[u8]| s.iter().position(|c| *c != b'0').map_or(Vec::new(), |at| s[at..].to_vec());
    let (a, b) = (strip(a), strip(b));
    a.len().cmp(&b.len()).then_with(|| a.cmp(&b))
}

/// Capital letters before small ones, a longer word after its beginning.
fn words(a: &[u8], b: &[u8]) -> Ordering {
    a.cmp(b)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_order_of_the_specification() {
        // Each is older than the next.
        let rising = [
            "os_1~rc1",
            "os_1",
            "os_1-1",
            "os_1.1",
            "os_1.2",
            "os_1.10",
            "os_9",
            "os_10",
            "os_122.1",
            "os_123~rc1-1",
            "os_123",
            "os_123-a",
            "os_123.1",
        ];
        for pair in rising.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        for (a, b) in [("", ""), ("1_2", "1__2"), ("x_007", "x_7"), ("a+", "a")] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn it_is_an_order(a in "[a-z0-9~.^_-]{0,12}", b in "[a-z0-9~.^_-]{0,12}", c in "[a-z0-9~.^_-]{0,12}") {
            prop_assert_eq!(compare(&a, &a), Ordering::Equal);
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            if compare(&a, &b) != Ordering::Greater && compare(&b, &c) != Ordering::Greater {
                prop_assert_ne!(compare(&a, &c), Ordering::Greater);
            }
        }
        #[test]
        fn anything_ends(a in any::<String>(), b in any::<String>()) {
            let _ = compare(&a, &b);
        }
    }
}
