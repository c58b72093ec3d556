//! A textual difference of two files, as `diff -u` prints it.

/// Lines of context.
const AROUND: usize = 3;
/// Products of line counts above this are not compared line by line.
const MOST: usize = 16 << 20;

/// What is between two texts, without a head; `None`: one of them is no text, or they are too large to compare by line.
pub fn unified(old: &[u8], new: &[u8]) -> Option<Vec<u8>> {
    if old.contains(&0) || new.contains(&0) {
        return None;
    }
    let (old, new) = (lines(old), lines(new));
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (left, right) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    if left.len().saturating_mul(right.len()) > MOST {
        return None;
    }
    let mut script: Vec<(u8, usize, usize)> = (0..head).map(|i| (b' ', i, i)).collect();
    script.extend(between(left, right).into_iter().map(|(sign, i, j)| (sign, head + i, head + j)));
    script.extend((0..tail).map(|i| (b' ', old.len() - tail + i, new.len() - tail + i)));
    Some(hunks(&old, &new, &script))
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|b| *b == b'\n').collect()
}

/// The longest common subsequence as steps: (sign, old line, new line).
fn between(old: &[&[u8]], new: &[&[u8]]) -> Vec<(u8, usize, usize)> {
    let width = new.len() + 1;
    let mut length = vec![0u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            length[i * width + j] =
                if old[i] == new[j] { length[(i + 1) * width + j + 1] + 1 } else { length[(i + 1) * width + j].max(length[i * width + j + 1]) };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            out.push((b' ', i, j));
            (i, j) = (i + 1, j + 1);
        } else if i < old.len() && (j == new.len() || length[(i + 1) * width + j] >= length[i * width + j + 1]) {
            out.push((b'-', i, j));
            i += 1;
        } else {
            out.push((b'+', i, j));
            j += 1;
        }
    }
    out
}

fn hunks(old: &[&[u8]], new: &[&[u8]], script: &[(u8, usize, usize)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(first) = script[at..].iter().position(|s| s.0 != b' ').map(|p| at + p) {
        let start = first.saturating_sub(AROUND).max(at);
        let mut end = first + 1;
        // Changes with less than twice the context between them are one hunk.
        while let Some(next) = script[end..].iter().take(2 * AROUND + 1).position(|s| s.0 != b' ') {
            end += next + 1;
        }
        let end = (end + AROUND).min(script.len());
        let part = &script[start..end];
        let count = |without: u8| part.iter().filter(|s| s.0 != without).count();
        let (removed, added) = (count(b'+'), count(b'-'));
        let line = |index: usize, count: usize| if count == 0 { index } else { index + 1 };
        out.extend(format!("@@ -{},{removed} +{},{added} @@\n", line(part[0].1, removed), line(part[0].2, added)).bytes());
        for (sign, i, j) in part {
            let line = if *sign == b'+' { new[*j] } else { old[*i] };
            out.push(*sign);
            out.extend_from_slice(line);
            if !line.ends_with(b"\n") {
                out.extend_from_slice(b"\n\\ No newline at end of file\n");
            }
        }
        at = end;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_diff_says_it() {
        let said = |a: &str, b: &str| String::from_utf8(unified(a.as_bytes(), b.as_bytes()).unwrap()).unwrap();
        assert_eq!(said("a\nb\nc\n", "a\nx\nc\n"), "@@ -1,3 +1,3 @@\n a\n-b\n+x\n c\n");
        assert_eq!(said("", "a\n"), "@@ -0,0 +1,1 @@\n+a\n");
        assert_eq!(said("a", "a\n"), "@@ -1,1 +1,1 @@\n-a\n\\ No newline at end of file\n+a\n");
        assert_eq!(said("same\n", "same\n"), "");
        let long: String = (0..40).map(|n| format!("{n}\n")).collect();
        let other = long.replacen("3\n", "three\n", 1).replacen("35\n", "x\n", 1);
        assert_eq!(said(&long, &other).matches("@@ -").count(), 2);
        assert_eq!(unified(b"a\0b", b"a"), None);
    }
}
