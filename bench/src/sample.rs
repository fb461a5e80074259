//! What one run of one case against one contender gave, and how runs are put together.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::contender::Server;
use crate::device::Device;
use crate::process::{ProcessError, Usage, machine_busy};

/// Longest latency told apart, in nanoseconds: a minute. Slower ones count as this long.
const LATENCY_NANOS_MAX: u64 = 60_000_000_000;

/// Significant digits of latencies: three tell 1.00 ms from 1.001 ms, in 200 KiB per histogram.
const LATENCY_DIGITS: u8 = 3;

/// Cores that other work may keep busy before a run counts as disturbed: the kernel's own threads take
/// some percent for syncs and networking.
pub(crate) const OTHERS_CORES_MAX: f64 = 0.15;

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Operations that succeeded in the measured time.
    pub(crate) operations: u64,
    /// Operations that were refused in the measured time.
    pub(crate) refusals: u64,
    /// The measured time.
    pub(crate) elapsed: Duration,
    /// Latencies of the operations that succeeded, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// What all server processes used in the measured time; memory as it was at its end.
    pub(crate) server: Usage,
    /// What the generator used in the measured time.
    pub(crate) generator: Usage,
    /// Bytes that went to the device below the server's data in the measured time.
    pub(crate) written_bytes: u64,
    /// CPU time that everything else on the machine used in the measured time.
    pub(crate) others: Duration,
}

impl Sample {
    /// Operations per second.
    pub(crate) fn rate(&self) -> f64 {
        self.operations as f64 / self.seconds()
    }

    /// Cores that everything else on the machine kept busy.
    pub(crate) fn others_cores(&self) -> f64 {
        self.others.as_secs_f64() / self.seconds()
    }

    /// The same, with the time that something else took in place of its latencies.
    pub(crate) fn with_latency(self, latency: Duration) -> Sample {
        let mut only = histogram();
        only.saturating_record(nanos(latency));
        Sample {
            latency: only,
            ..self
        }
    }

    fn seconds(&self) -> f64 {
        self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// How things stood when the measured time began.
struct Began {
    at: Instant,
    server: Usage,
    generator: Usage,
    machine: Duration,
    written_bytes: u64,
}

/// Takes the figures of one run.
pub(crate) struct Meter {
    servers: Vec<u32>,
    device: Device,
    /// Whether all that is measured is `servers` and this process.
    whole: bool,
    began: Option<Began>,
    operations: u64,
    refusals: u64,
    latency: Histogram<u64>,
}

impl Meter {
    /// For a run against `server`. Nothing counts before [`Meter::begin`].
    pub(crate) fn of(server: &Server) -> Meter {
        Meter::new(server.processes(), Device::below(server.folder()))
    }

    /// For a load that is not measured.
    pub(crate) fn idle() -> Meter {
        Meter::new(Vec::new(), Device::none())
    }

    fn new(servers: Vec<u32>, device: Device) -> Meter {
        Meter {
            servers,
            device,
            whole: true,
            began: None,
            operations: 0,
            refusals: 0,
            latency: histogram(),
        }
    }

    /// For a run of a chain of which the process `agent` is one part: what the rest of the machine
    /// does meanwhile is partly the chain's, and therefore not told.
    pub(crate) fn of_part(agent: u32, server: &Server) -> Meter {
        Meter {
            whole: false,
            ..Meter::new(vec![agent], Device::below(server.folder()))
        }
    }

    /// For a run in which processes come and go: only times are told.
    pub(crate) fn of_times(server: &Server) -> Meter {
        Meter {
            whole: false,
            ..Meter::new(Vec::new(), Device::below(server.folder()))
        }
    }

    /// The measured time begins.
    pub(crate) fn begin(&mut self) -> Result<(), ProcessError> {
        self.began = Some(self.look()?);
        Ok(())
    }

    fn look(&self) -> Result<Began, ProcessError> {
        Ok(Began {
            at: Instant::now(),
            server: Usage::of(&self.servers)?,
            generator: Usage::own()?,
            machine: machine_busy()?,
            written_bytes: self.device.written_bytes(),
        })
    }

    /// Counts an operation that succeeded.
    pub(crate) fn count(&mut self, latency: Duration) {
        if self.began.is_some() {
            self.operations += 1;
            self.latency.saturating_record(nanos(latency));
        }
    }

    /// Counts an operation that was refused.
    pub(crate) fn refuse(&mut self) {
        if self.began.is_some() {
            self.refusals += 1;
        }
    }

    /// The measured time is over.
    pub(crate) fn finish(self) -> Result<Sample, ProcessError> {
        let end = self.look()?;
        let began = match self.began {
            Some(began) => began,
            None => self.look()?,
        };
        let server = since(began.server, end.server);
        let generator = since(began.generator, end.generator);
        let machine = end.machine.saturating_sub(began.machine);
        let others = machine.saturating_sub(server.cpu + generator.cpu);
        Ok(Sample {
            operations: self.operations,
            refusals: self.refusals,
            elapsed: end.at.saturating_duration_since(began.at),
            latency: self.latency,
            server,
            generator,
            written_bytes: end.written_bytes.saturating_sub(began.written_bytes),
            others: if self.whole { others } else { Duration::ZERO },
        })
    }
}

/// What was used between two looks; memory is a level, so the later one counts.
fn since(before: Usage, after: Usage) -> Usage {
    Usage {
        cpu: after.cpu.saturating_sub(before.cpu),
        ..after
    }
}

/// As a histogram takes it.
fn nanos(latency: Duration) -> u64 {
    u64::try_from(latency.as_nanos())
        .unwrap_or(LATENCY_NANOS_MAX)
        .clamp(1, LATENCY_NANOS_MAX)
}

/// An empty histogram of latencies.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NANOS_MAX, LATENCY_DIGITS)
        .expect("1 ns to a minute in three digits is a range that a histogram can have")
}

/// All runs of one case against one contender.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    /// Operations per second: the median of the runs, so that one disturbed run does not count.
    pub(crate) rate: f64,
    /// Lowest and highest run, operations per second.
    pub(crate) rate_bounds: (f64, f64),
    /// Latencies of all runs together.
    pub(crate) latency: Histogram<u64>,
    /// Operations, refusals and time of all runs together.
    pub(crate) operations: u64,
    /// See above.
    pub(crate) refusals: u64,
    /// See above.
    pub(crate) elapsed: Duration,
    /// Server CPU of all runs together, memory of the hungriest.
    pub(crate) server: Usage,
    /// Bytes that went to the device in all runs together.
    pub(crate) written_bytes: u64,
    /// The generator's CPU of all runs together.
    pub(crate) generator: Usage,
    /// Cores that everything else on the machine kept busy in the most disturbed run.
    pub(crate) others_cores: f64,
}

impl Summary {
    /// Puts runs together; `None` of none.
    pub(crate) fn of(samples: &[Sample]) -> Option<Summary> {
        let mut rates: Vec<f64> = samples.iter().map(Sample::rate).collect();
        rates.sort_by(f64::total_cmp);
        let (lowest, highest) = (*rates.first()?, *rates.last()?);
        let middle = rates.len() / 2;
        let median = if rates.len() % 2 == 1 {
            rates[middle]
        } else {
            f64::midpoint(rates[middle - 1], rates[middle])
        };
        let mut summary = Summary {
            rate: median,
            rate_bounds: (lowest, highest),
            latency: histogram(),
            operations: 0,
            refusals: 0,
            elapsed: Duration::ZERO,
            server: Usage::default(),
            written_bytes: 0,
            generator: Usage::default(),
            others_cores: 0.0,
        };
        for sample in samples {
            summary.operations += sample.operations;
            summary.refusals += sample.refusals;
            summary.elapsed += sample.elapsed;
            summary.written_bytes += sample.written_bytes;
            // The histograms have the same bounds: adding cannot fail.
            let _ = summary.latency.add(&sample.latency);
            add(&mut summary.server, sample.server);
            add(&mut summary.generator, sample.generator);
            summary.others_cores = summary.others_cores.max(sample.others_cores());
        }
        Some(summary)
    }

    /// Latency below which the share `quantile` of the operations was, in nanoseconds.
    pub(crate) fn quantile(&self, quantile: f64) -> u64 {
        self.latency.value_at_quantile(quantile)
    }

    /// Server CPU per operation, in nanoseconds.
    pub(crate) fn server_nanos_per_operation(&self) -> f64 {
        self.server.cpu.as_nanos() as f64 / self.operations.max(1) as f64
    }

    /// Share of one core that the generator used.
    pub(crate) fn generator_share(&self) -> f64 {
        self.generator.cpu.as_secs_f64() / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

fn add(sum: &mut Usage, run: Usage) {
    sum.cpu += run.cpu;
    sum.resident_bytes = sum.resident_bytes.max(run.resident_bytes);
    sum.peak_bytes = sum.peak_bytes.max(run.peak_bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(operations: u64, resident_bytes: u64) -> Sample {
        let mut latency = histogram();
        latency.record_n(1000 * operations, operations).unwrap();
        Sample {
            operations,
            refusals: 1,
            elapsed: Duration::from_secs(1),
            latency,
            server: Usage {
                cpu: Duration::from_millis(500),
                resident_bytes,
                peak_bytes: 9,
            },
            generator: Usage {
                cpu: Duration::from_millis(250),
                ..Usage::default()
            },
            written_bytes: 10,
            others: Duration::from_millis(operations),
        }
    }

    #[test]
    fn the_median_run_speaks_for_the_rate() {
        let summary = Summary::of(&[sample(100, 7), sample(10, 8), sample(90, 6)]).unwrap();
        assert_eq!(summary.rate, 90.0);
        assert_eq!(summary.rate_bounds, (10.0, 100.0));
        assert_eq!((summary.operations, summary.refusals), (200, 3));
        assert_eq!(summary.server.resident_bytes, 8);
        assert_eq!(summary.written_bytes, 30);
        assert_eq!(
            summary.server_nanos_per_operation(),
            1_500_000_000.0 / 200.0
        );
        assert_eq!(summary.generator_share(), 0.25);
        assert_eq!(summary.others_cores, 0.1);
        let even = Summary::of(&[sample(100, 7), sample(10, 8)]).unwrap();
        assert_eq!(even.rate, 55.0);
        assert!(Summary::of(&[]).is_none());
    }

    #[test]
    fn nothing_counts_before_the_beginning() {
        let mut meter = Meter::new(vec![std::process::id()], Device::none());
        meter.count(Duration::from_secs(1));
        meter.refuse();
        meter.begin().unwrap();
        meter.count(Duration::from_micros(5));
        meter.count(Duration::from_secs(3600));
        meter.refuse();
        let sample = meter.finish().unwrap();
        assert_eq!((sample.operations, sample.refusals), (2, 1));
        assert_eq!(sample.latency.len(), 2);
        assert!(sample.latency.max() >= 59_000_000_000);
    }
}
