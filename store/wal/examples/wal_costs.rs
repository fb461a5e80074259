//! What an append and its sync cost on the disk under a folder.
//!
//! `cargo run --release -p store-wal --example wal_costs -- <folder>`

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use store_wal::{Entry, Identity, RealDisk, Record, Vote, Wal, WalConfig};

const ROUNDS: usize = 2000;
const BODY_BYTES: usize = 280;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let parent = std::env::args()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = parent.join(format!("wal-costs-{}", std::process::id()));
    let done = measure(&dir);
    std::fs::remove_dir_all(&dir)?;
    done
}

fn measure(dir: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
    let identity = Identity {
        cluster: 1,
        member: 1,
    };
    let begun = Instant::now();
    let (mut wal, _) = Wal::open(RealDisk, WalConfig::new(dir), identity)?;
    println!(
        "make a folder: {:.1} ms",
        begun.elapsed().as_secs_f64() * 1e3
    );
    let body = Bytes::from(vec![b'x'; BODY_BYTES]);
    let mut index = 0;
    for batch in [1, 10, 100] {
        let (mut appends, mut syncs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let mut records: Vec<_> = (0..batch)
                .map(|_| {
                    index += 1;
                    Record::Entry(Entry {
                        index,
                        term: 1,
                        kind: 0,
                        body: body.clone(),
                    })
                })
                .collect();
            records.push(Record::Vote(Vote {
                term: 1,
                vote: 1,
                commit: index - 1,
            }));
            let begun = Instant::now();
            wal.append(&records)?;
            let appended = Instant::now();
            wal.sync()?;
            appends.push(appended - begun);
            syncs.push(appended.elapsed());
            // As the disk thread does when it has nothing else to do.
            if !wal.has_reserve() {
                wal.prepare_reserve()?;
            }
        }
        println!(
            "{batch} entries of {BODY_BYTES} bytes: append {}, sync {}",
            show(appends),
            show(syncs)
        );
    }
    wal.close()?;
    let begun = Instant::now();
    let (_, recovered) = Wal::open(RealDisk, WalConfig::new(dir), identity)?;
    let count = recovered.entries.len();
    println!(
        "open with {count} entries: {:.1} ms",
        begun.elapsed().as_secs_f64() * 1e3
    );
    Ok(())
}

fn show(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let micros = |at: usize| times[at].as_secs_f64() * 1e6;
    format!(
        "p50 {:.1} µs, p99 {:.1} µs",
        micros(times.len() / 2),
        micros(times.len() * 99 / 100)
    )
}
