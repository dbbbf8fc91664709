//! What all clients and the one with the axe share. All of it is on one thread.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::time::Duration;

use smol::Timer;

use crate::broker::Broker;
use crate::ledger::{Ledger, Number};
use crate::retained::Retained;

pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) broker: RefCell<Broker>,
    pub(crate) ledger: RefCell<Ledger>,
    pub(crate) retained: RefCell<Retained>,
    is_up: Cell<bool>,
    /// The broker is killed upon so many more acknowledgements; 0 is never.
    acknowledgements_left: Cell<usize>,
}

impl World {
    pub(crate) fn new(broker: Broker) -> Self {
        Self {
            address: broker.address,
            broker: RefCell::new(broker),
            ledger: RefCell::new(Ledger::new()),
            retained: RefCell::default(),
            is_up: Cell::new(false),
            acknowledgements_left: Cell::new(0),
        }
    }

    /// Whether there is somebody to connect to.
    pub(crate) fn is_up(&self) -> bool {
        self.is_up.get()
    }

    pub(crate) fn round(&self) -> u32 {
        self.ledger.borrow().tally.rounds
    }

    pub(crate) fn start(&self) {
        self.broker.borrow_mut().start();
        self.is_up.set(true);
        self.note("listens");
    }

    /// Starts the broker, and kills it before it got far.
    pub(crate) async fn start_and_kill(&self, after: Duration) {
        self.broker.borrow_mut().spawn();
        Timer::after(after).await;
        self.kill();
    }

    pub(crate) fn kill(&self) {
        self.broker.borrow_mut().kill();
        self.is_up.set(false);
        self.acknowledgements_left.set(0);
        self.ledger.borrow_mut().tally.kills += 1;
        self.note("was killed");
    }

    /// Kills the broker in the middle of what it does.
    pub(crate) fn kill_after_acknowledgements(&self, count: usize) {
        self.acknowledgements_left.set(count);
    }

    /// A publisher read an acknowledgement.
    pub(crate) fn count_acknowledgement(&self) {
        match self.acknowledgements_left.get() {
            0 => {}
            1 => self.kill(),
            left => self.acknowledgements_left.set(left - 1),
        }
    }

    fn note(&self, what: &'static str) {
        self.note_of(0, None, what, 0);
    }

    pub(crate) fn note_of(&self, who: usize, message: Option<Number>, what: &'static str, packet_id: u16) {
        self.ledger.borrow_mut().note(who, message, what, packet_id);
    }
}
