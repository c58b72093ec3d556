use super::*;

#[test]
fn every_job_is_done_once() {
    for threads in [1, 2, 7] {
        let done = AtomicUsize::new(0);
        run(threads, &OpenDirectories::default(), 12u32, |n, queue: &Queue<u32, ()>| {
            done.fetch_add(1, Ordering::Relaxed);
            if n > 0 {
                queue.push(n - 1);
                queue.push(n - 1);
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(done.into_inner(), (1 << 13) - 1);
    }
}

#[test]
fn the_first_failure_stops() {
    for threads in [1, 4] {
        let result = run(threads, &OpenDirectories::default(), 0u32, |n, queue| {
            queue.push(n + 1);
            if n == 50 { Err(n) } else { Ok(()) }
        });
        assert_eq!(result, Err(50));
    }
}
