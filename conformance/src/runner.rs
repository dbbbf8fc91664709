//! Many scenarios at once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use crate::instance::Restarts;
use crate::run;
use crate::scenario::{Action, Expect, Expected};
use crate::select::Item;
use crate::target::Target;
use crate::verdict::{Outcome, Verdict};

/// How many scenarios run at once, and how long they may take.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Scenarios at once. They mostly wait, so it may be more than there are processors.
    pub jobs: usize,
    /// For one scenario.
    pub scenario_limit: Duration,
    /// For all of them: what has no verdict then is inconclusive.
    pub run_limit: Duration,
}

impl Default for Plan {
    fn default() -> Self {
        Plan { jobs: 16, scenario_limit: run::LIMIT, run_limit: Duration::from_secs(15 * 60) }
    }
}

/// Runs all, tells of each verdict as it comes, and returns them in the order of `items`.
///
/// Those known to wait long begin first, those that want the broker for themselves last. A scenario that is stuck beyond the run's limit is left behind.
pub fn run_all(
    items: &[Item],
    target: &Target,
    plan: Plan,
    mut told: impl FnMut(&Item, &Verdict),
) -> Vec<Verdict> {
    let until = Instant::now() + plan.run_limit;
    let mut order: Vec<usize> = (0..items.len()).collect();
    let alone = |item: &Item| item.scenario.restarts() && matches!(target.restarts, Some(Restarts::This(_)));
    order.sort_by_key(|&place| items.get(place).map(|item| (alone(item), std::cmp::Reverse(waits(item)))));
    let work: Arc<[(usize, Item)]> =
        order.into_iter().filter_map(|place| Some((place, items.get(place)?.clone()))).collect();

    let (next, target) = (Arc::new(AtomicUsize::new(0)), Arc::new(target.clone()));
    let (sender, verdicts) = channel();
    for _ in 0..plan.jobs.clamp(1, items.len().max(1)) {
        let (work, next, target, sender) = (work.clone(), next.clone(), target.clone(), sender.clone());
        thread::spawn(move || {
            while let Some((place, item)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                if Instant::now() >= until || sender.send((*place, play(item, &target, plan))).is_err() {
                    break;
                }
            }
        });
    }
    drop(sender);

    let mut found: Vec<Option<Verdict>> = items.iter().map(|_| None).collect();
    let left = || until.saturating_duration_since(Instant::now());
    while let Ok((place, verdict)) = verdicts.recv_timeout(left()) {
        if let (Some(slot), Some(item)) = (found.get_mut(place), items.get(place)) {
            told(item, &verdict);
            *slot = Some(verdict);
        }
    }
    let over = |item: &Item| {
        let verdict = inconclusive(item, format!("the run's time limit of {:?} was over", plan.run_limit));
        told(item, &verdict);
        verdict
    };
    let mut over = over;
    items.iter().zip(found).map(|(item, verdict)| verdict.unwrap_or_else(|| over(item))).collect()
}

fn play(item: &Item, target: &Target, plan: Plan) -> Verdict {
    let run = || run::run_within(&item.scenario, item.version, target, plan.scenario_limit);
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| inconclusive(item, "the kit itself failed: please report it".to_owned()))
}

fn inconclusive(item: &Item, reason: String) -> Verdict {
    let (outcome, trace) = (Outcome::Inconclusive(reason), Vec::new());
    Verdict { name: item.name(), outcome, trace, elapsed: Duration::ZERO }
}

/// How long a scenario waits at least or at most, as far as it says.
fn waits(item: &Item) -> Duration {
    let wait = |expect: &Expect| match expect.what {
        Expected::Silence(Some(time)) => time,
        _ => expect.within.map_or(Duration::ZERO, |(_, most)| most),
    };
    let steps = item.scenario.steps.iter().filter_map(|step| match &step.action {
        Action::Expect(expect) => Some(wait(expect)),
        _ => None,
    });
    steps.sum()
}
