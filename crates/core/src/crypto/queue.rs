//! A bounded queue between requests and the threads that hash for them, of two kinds: *prompt* ones, and
//! *spare* ones that only take what no prompt one is free for.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Who takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taker {
    Prompt,
    Spare,
}

/// Why a job was not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// As many wait as may.
    Full,
    /// There are no threads.
    Nobody,
}

/// The end that gives; when the last of its copies is dropped, the threads end.
#[derive(Debug)]
pub(super) struct Giver<T>(Arc<Queue<T>>);

/// The end that takes.
#[derive(Debug)]
pub(super) struct Takers<T>(Arc<Queue<T>>);

#[derive(Debug)]
struct Queue<T> {
    state: Mutex<State<T>>,
    prompt: Condvar,
    spare: Condvar,
    closing: Condvar,
    /// How many may wait beside those for whom a thread is free.
    room: usize,
}

#[derive(Debug)]
struct State<T> {
    jobs: VecDeque<T>,
    /// Threads that wait, those that were woken and have not looked yet among them.
    idle_prompt: usize,
    idle_spare: usize,
    threads: usize,
    closed: bool,
}

/// Both ends of a queue with room for so many.
pub(super) fn queue<T>(room: usize) -> (Giver<T>, Takers<T>) {
    let state = State { jobs: VecDeque::new(), idle_prompt: 0, idle_spare: 0, threads: 0, closed: false };
    let queue = Arc::new(Queue {
        state: Mutex::new(state),
        prompt: Condvar::new(),
        spare: Condvar::new(),
        closing: Condvar::new(),
        room,
    });
    (Giver(Arc::clone(&queue)), Takers(queue))
}

impl<T> Queue<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Giver<T> {
    pub fn give(&self, job: T) -> Result<(), Refused> {
        let mut state = self.0.lock();
        if state.threads == 0 {
            return Err(Refused::Nobody);
        }
        if state.jobs.len() >= self.0.room + state.idle_prompt + state.idle_spare {
            return Err(Refused::Full);
        }
        state.jobs.push_back(job);
        if state.jobs.len() <= state.idle_prompt {
            self.0.prompt.notify_one()
        } else {
            self.0.spare.notify_one()
        }
        Ok(())
    }
}

impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.prompt.notify_all();
        self.0.spare.notify_all();
        self.0.closing.notify_all();
    }
}

impl<T> Clone for Takers<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Takers<T> {
    /// A thread of this kind has been started.
    pub fn joined(&self) {
        self.0.lock().threads += 1;
    }

    /// Waits for so long, or until there will be no more.
    pub fn rest(&self, time: Duration) {
        let state = self.0.lock();
        // Rested or closed: what is next is the same.
        drop(self.0.closing.wait_timeout_while(state, time, |state| !state.closed));
    }

    /// The next job; `None` when there will be no more.
    pub fn take(&self, taker: Taker) -> Option<T> {
        let mut state = self.0.lock();
        loop {
            let mine = match taker {
                Taker::Prompt => true,
                Taker::Spare => state.jobs.len() > state.idle_prompt,
            };
            if mine && let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.closed && state.jobs.is_empty() {
                return None;
            }
            state = match taker {
                Taker::Prompt => {
                    state.idle_prompt += 1;
                    let mut state = self.0.prompt.wait(state).unwrap_or_else(PoisonError::into_inner);
                    state.idle_prompt -= 1;
                    state
                }
                Taker::Spare => {
                    state.idle_spare += 1;
                    let mut state = self.0.spare.wait(state).unwrap_or_else(PoisonError::into_inner);
                    state.idle_spare -= 1;
                    state
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::thread;

    use super::*;

    /// A thread that says what it took, and goes on when it is told to.
    fn worker(takers: &Takers<u32>, taker: Taker) -> (Receiver<u32>, std::sync::mpsc::Sender<()>) {
        let (says, said) = channel();
        let (go, gone) = channel();
        let takers = takers.clone();
        takers.joined();
        thread::spawn(move || {
            while let Some(job) = takers.take(taker) {
                if says.send(job).is_err() || gone.recv().is_err() {
                    return;
                }
            }
        });
        (said, go)
    }

    fn until(queue: &Queue<u32>, holds: impl Fn(&State<u32>) -> bool) {
        while !holds(&queue.lock()) {
            thread::yield_now();
        }
    }

    #[test]
    fn a_spare_thread_takes_only_what_no_prompt_one_is_free_for() {
        let (giver, takers) = queue(8);
        let (prompt, go_on) = worker(&takers, Taker::Prompt);
        let (spare, _) = worker(&takers, Taker::Spare);
        for job in 0..100 {
            until(&takers.0, |state| state.idle_prompt == 1 && state.idle_spare == 1);
            giver.give(job).unwrap();
            assert_eq!(prompt.recv().unwrap(), job);
            go_on.send(()).unwrap();
        }
        // The prompt one is busy: now the spare one is asked.
        until(&takers.0, |state| state.idle_prompt == 1);
        giver.give(100).unwrap();
        assert_eq!(prompt.recv().unwrap(), 100);
        giver.give(101).unwrap();
        assert_eq!(spare.recv().unwrap(), 101);
        assert!(prompt.try_recv().is_err());
    }

    #[test]
    fn two_that_come_at_once_go_to_both() {
        let (giver, takers) = queue(8);
        let (prompt, _one) = worker(&takers, Taker::Prompt);
        let (spare, _other) = worker(&takers, Taker::Spare);
        until(&takers.0, |state| state.idle_prompt == 1 && state.idle_spare == 1);
        giver.give(1).unwrap();
        giver.give(2).unwrap();
        let mut taken = [prompt.recv().unwrap(), spare.recv().unwrap()];
        taken.sort_unstable();
        assert_eq!(taken, [1, 2]);
    }

    #[test]
    fn who_rests_is_woken_by_the_end() {
        let (giver, takers) = queue::<u32>(1);
        let resting = takers.clone();
        let thread = thread::spawn(move || resting.rest(Duration::from_secs(3600)));
        drop(giver);
        thread.join().unwrap();
        takers.rest(Duration::from_secs(3600));
    }

    #[test]
    fn it_refuses_when_it_is_full_or_nobody_is_there_and_ends_with_its_giver() {
        let (giver, takers) = queue(1);
        assert_eq!(giver.give(0), Err(Refused::Nobody));
        let (said, go_on) = worker(&takers, Taker::Prompt);
        until(&takers.0, |state| state.idle_prompt == 1);
        giver.give(1).unwrap();
        assert_eq!(said.recv().unwrap(), 1);
        assert_eq!((giver.give(2), giver.give(3)), (Ok(()), Err(Refused::Full)));
        drop(giver);
        // What was taken in is done.
        go_on.send(()).unwrap();
        assert_eq!(said.recv().unwrap(), 2);
        go_on.send(()).unwrap();
        assert!(said.recv().is_err(), "the thread has ended");
    }
}
