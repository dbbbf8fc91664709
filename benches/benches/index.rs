//! Topic filters → subscribers, and names → retained messages, among a thousand to a million.

#![expect(clippy::unwrap_used, reason = "a bench that goes wrong stops")]

use std::cell::LazyCell;
use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use sol::topic::{Filter, Index, Name, Retained};

// Its allocator.
use benches as _;

const SIZES: [(u32, &str); 3] = [(1_000, "1 k"), (100_000, "100 k"), (1_000_000, "1 M")];
/// Names looked up, and filters changed, in an iteration: so many that in a large index each time is like the first.
const LOOKUPS: u32 = 10_000;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    for (size, label) in SIZES {
        for kind in [Kind::Exact, Kind::SingleLevel, Kind::MultiLevel] {
            subscriptions(&mut criterion, kind, size, label);
        }
        retained(&mut criterion, size, label);
    }
    criterion.final_summary();
}

/// What all filters of an index look like. Each matches the name of one device alone.
#[derive(Clone, Copy)]
enum Kind {
    Exact,
    /// `+` at any level but the device's.
    SingleLevel,
    /// `#` below the device.
    MultiLevel,
}

impl Kind {
    fn label(self) -> &'static str {
        match self {
            Kind::Exact => "exact",
            Kind::SingleLevel => "+",
            Kind::MultiLevel => "#",
        }
    }

    fn filter(self, device: u32) -> String {
        let mut levels = levels(device);
        match self {
            Kind::Exact => {}
            Kind::SingleLevel => {
                let [region, site, line, _, leaf] = &mut levels;
                let choice = [region, site, line, leaf].into_iter().nth(device as usize % 4);
                *choice.unwrap() = "+".to_owned();
            }
            Kind::MultiLevel => *levels.last_mut().unwrap() = "#".to_owned(),
        }
        levels.join("/")
    }
}

/// Ten regions of ten sites of a hundred lines, and devices in turn on each of them.
fn levels(device: u32) -> [String; 5] {
    [
        format!("region{}", device % 10),
        format!("site{}", device / 10 % 10),
        format!("line{}", device / 100 % 100),
        format!("device{device}"),
        "temperature".to_owned(),
    ]
}

fn name(device: u32) -> String {
    levels(device).join("/")
}

/// Devices from all over the first `size`.
fn sample(size: u32) -> impl Iterator<Item = u32> {
    // The step shares no factor with any size, so none comes twice before all have come.
    (0..LOOKUPS).map(move |i| (u64::from(i) * 618_033 % u64::from(size)) as u32)
}

fn subscriptions(criterion: &mut Criterion, kind: Kind, size: u32, label: &str) {
    // Built when it is needed, as most benches are filtered out by most runs.
    let mut index = None;
    let build = || {
        let mut index = Index::new();
        for device in 0..size {
            index.insert(Filter::new(&kind.filter(device)).unwrap(), device, ());
        }
        assert_eq!(index.len(), size as usize);
        index
    };
    let parameter = format!("{}/{label}", kind.label());
    let mut group = criterion.benchmark_group("index");
    group.throughput(Throughput::Elements(LOOKUPS.into()));

    let names: Vec<_> = sample(size).map(name).collect();
    let names: Vec<_> = names.iter().map(|name| Name::new(name).unwrap()).collect();
    group.bench_function(BenchmarkId::new("visit", &parameter), |bencher| {
        let index = index.get_or_insert_with(build);
        bencher.iter(|| {
            let mut found = 0;
            for name in &names {
                index.visit(black_box(*name), |device, ()| {
                    black_box(device);
                    found += 1;
                });
            }
            assert_eq!(found, LOOKUPS);
        });
    });

    let filters: Vec<_> = (size..size + LOOKUPS).map(|device| kind.filter(device)).collect();
    let filters: Vec<_> = filters.iter().map(|filter| Filter::new(filter).unwrap()).collect();
    group.bench_function(BenchmarkId::new("insert and remove", &parameter), |bencher| {
        let index = index.get_or_insert_with(build);
        bencher.iter(|| {
            for (device, filter) in (size..).zip(&filters) {
                assert!(index.insert(black_box(*filter), device, ()).is_none());
                assert!(index.remove(black_box(*filter), device).is_some());
            }
        });
        assert_eq!(index.len(), size as usize);
    });
}

fn retained(criterion: &mut Criterion, size: u32, label: &str) {
    let retained = LazyCell::new(|| {
        let mut retained = Retained::new();
        for device in 0..size {
            retained.set(Name::new(&name(device)).unwrap(), device);
        }
        assert_eq!(retained.len(), size as usize);
        retained
    });
    let [region, site, line, ..] = levels(size / 2);
    let mut group = criterion.benchmark_group("retained");
    for (what, filter, matches) in [
        ("exact", name(size / 2), 1),
        // Every message of a hundredth of the tree.
        ("#", format!("{region}/{site}/#"), size / 100),
        // One message, looked for in every line of the site.
        ("+", format!("{region}/{site}/+/device{}/temperature", size / 2), 1),
        ("+ of a line", format!("{region}/{site}/{line}/+/temperature"), size.div_ceil(10_000)),
    ] {
        let filter = Filter::new(&filter).unwrap();
        group.throughput(Throughput::Elements(matches.into()));
        group.bench_function(BenchmarkId::new(what, label), |bencher| {
            let retained = &*retained;
            bencher.iter(|| {
                let mut found = 0;
                retained.visit(black_box(filter), |device| {
                    black_box(device);
                    found += 1;
                    ControlFlow::Continue(())
                });
                assert_eq!(found, matches);
            });
        });
    }
}
