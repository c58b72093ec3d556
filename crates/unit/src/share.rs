//! Shares of something: percent, per mille, per ten thousand.

use crate::SyntaxError;

/// Parses `50%`, `12.5%`, `3‰` or `7‱` as hundredths of a percent (10000 = all); at most 100 %.
pub fn permyriad(text: &str) -> Result<u32, SyntaxError> {
    match percent_unbounded(text)? {
        n @ 0..=10_000 => Ok(n),
        _ => Err(SyntaxError::new("percentage", text, "it is more than 100%")),
    }
}

/// As [`permyriad`], without the upper bound (`CPUQuota=250%` is two and a half CPUs).
pub fn percent_unbounded(text: &str) -> Result<u32, SyntaxError> {
    let refuse = |why| SyntaxError::new("percentage", text, why);
    let (number, scale) = if let Some(n) = text.strip_suffix('%') {
        (n, 100)
    } else if let Some(n) = text.strip_suffix('‰') {
        (n, 10)
    } else if let Some(n) = text.strip_suffix('‱') {
        (n, 1)
    } else {
        return Err(refuse("it does not end in '%'"));
    };
    let (whole, fraction) = number.split_once('.').map_or((number, None), |(w, f)| (w, Some(f)));
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || fraction.is_some_and(|f| !digits(f)) {
        return Err(refuse("it is not a number of percent"));
    }
    // as many decimals as a ten-thousandth can express: two of a percent, one of a per mille
    let mut part = 0;
    let mut weight = scale;
    for b in fraction.unwrap_or("").bytes() {
        weight /= 10;
        if weight == 0 {
            return Err(refuse("it has more decimals than a ten-thousandth part can express"));
        }
        part += u32::from(b - b'0') * weight;
    }
    whole.parse::<u32>().ok().and_then(|n| n.checked_mul(scale)).and_then(|n| n.checked_add(part)).ok_or_else(|| refuse("it is too large"))
}
