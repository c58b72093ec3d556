use super::jobs::waits;
use crate::transaction::JobType::{self, Nop, Reload, Restart, Start, Stop, VerifyActive};

/// Two units with jobs, the first ordered before the second: which job waits for the other (systemd.unit(5), "Before=").
#[test]
fn who_waits_for_whom() {
    #[rustfmt::skip]
    let table: [(JobType, JobType, bool, bool); 9] = [
        // job of the earlier, of the later unit; the first waits, the second waits
        (Start, Start, false, true),
        (Stop, Stop, true, false),
        // whatever stops goes first, ordered either way
        (Start, Stop, true, false),
        (Stop, Start, false, true),
        (Start, Restart, true, false),
        (Restart, Start, false, true),
        (Start, VerifyActive, false, true),
        (Reload, Start, false, true),
        (Nop, Start, false, false),
    ];
    for (first, second, first_waits, second_waits) in table {
        assert_eq!(waits(first, second, true), first_waits, "{first:?} before {second:?}");
        assert_eq!(waits(second, first, false), second_waits, "{second:?} after {first:?}");
    }
}
