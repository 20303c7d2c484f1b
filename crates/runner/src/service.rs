//! The connection to the delegate.

use std::io::{Read, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::folder;
use crate::frame::{self, End, Order, Report, VERSION};
use crate::script::{self, Event, Fatal, Over, Place, Prepared};

/// How long the runner waits before it dials again.
const AGAIN: Duration = Duration::from_millis(500);

/// Orders that wait for the runner.
const WAITING: usize = 4;

/// Scripts have the same user: they shall read neither memory nor environment nor files of this process, and whoever
/// of them loses its parent becomes a child of this one. Once, before anything is served.
///
/// # Errors
/// The system refuses it.
#[cfg(target_os = "linux")]
pub fn protect() -> std::io::Result<()> {
    use rustix::process::{DumpableBehavior, getpid, set_child_subreaper, set_dumpable_behavior};
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    set_child_subreaper(Some(getpid()))?;
    Ok(())
}

/// There is no way to it.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn protect() -> std::io::Result<()> {
    Err(std::io::Error::other("it runs on Linux alone"))
}

/// Serve one delegate after another until one says that it ends.
///
/// # Errors
/// Scripts cannot be kept apart any more: the process must end.
pub fn serve(socket: &Path, place: &Place) -> Result<(), Fatal> {
    loop {
        place.clear()?;
        match UnixStream::connect(socket).and_then(|stream| Ok((stream.try_clone()?, stream))) {
            Ok((reader, writer)) => {
                let delegate = Delegate(Arc::new(Mutex::new(writer)));
                if serve_one(reader, &delegate, place)? {
                    return Ok(());
                }
            }
            // There is none yet, or not any more.
            Err(_) => std::thread::sleep(AGAIN),
        }
    }
}

/// The way to the delegate.
#[derive(Clone)]
struct Delegate(Arc<Mutex<UnixStream>>);

impl Delegate {
    /// A delegate that is gone is noticed by whoever reads.
    fn send(&self, report: &Report) {
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stream.write_all(&report.encode()).ok();
    }

    fn hang_up(&self) {
        let stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stream.shutdown(std::net::Shutdown::Both).ok();
    }
}

/// Serve a delegate as long as it is there; whether the runner shall end with it.
fn serve_one(mut reader: UnixStream, delegate: &Delegate, place: &Place) -> Result<bool, Fatal> {
    let (tell, events) = sync_channel(WAITING);
    let listening = script::spawn({
        let tell = tell.clone();
        move || listen(&mut reader, &tell)
    })?;
    delegate.send(&Report::Ready { version: VERSION });
    let stop = serve_orders(delegate, place, (&tell, &events));
    // Whoever listens notices, and whoever waits to be heard is not heard any more.
    delegate.hang_up();
    drop(events);
    drop(listening.join());
    stop
}

fn serve_orders(
    delegate: &Delegate,
    place: &Place,
    (tell, events): (&SyncSender<Event>, &Receiver<Event>),
) -> Result<bool, Fatal> {
    let mut prepared: Option<Prepared> = None;
    while let Ok(event) = events.recv() {
        match event {
            Event::Order(Order::Stop) => return Ok(true),
            Event::Order(Order::Script(script)) => {
                place.clear()?;
                prepared = Some(place.prepare(script));
            }
            Event::Order(Order::File(file)) => {
                if let Some(prepared) = &mut prepared {
                    prepared.add(&place.manifests(), &file);
                }
            }
            Event::Order(Order::Cancel) => {
                // One that is over already needs no second end.
                if prepared.take().is_some() {
                    delegate.send(&Report::Ended(End::Canceled));
                }
            }
            Event::Order(Order::Begin) => {
                let Some(prepared) = prepared.take() else {
                    return Ok(false);
                };
                delegate.send(&Report::Begun);
                let hear = {
                    let delegate = delegate.clone();
                    move |line| delegate.send(&Report::Line(line))
                };
                let over = script::run(place, &prepared, (tell, events), hear)?;
                let Over {
                    end,
                    connected,
                    stop,
                } = over;
                if connected {
                    let end = hand_back(delegate, place, end);
                    // Before the delegate may send the next.
                    place.clear()?;
                    delegate.send(&Report::Ended(end));
                }
                if stop || !connected {
                    return Ok(stop);
                }
            }
            Event::Closed => return Ok(false),
            Event::Exited(_) | Event::Quiet => {}
        }
    }
    Ok(false)
}

/// After a good end, the files that the script has left.
fn hand_back(delegate: &Delegate, place: &Place, end: End) -> End {
    if end != (End::Exit { code: 0 }) {
        return end;
    }
    let root = place.manifests();
    let sent = folder::list(&root).and_then(|paths| {
        paths.into_iter().try_for_each(|path| {
            delegate.send(&Report::File(folder::read(&root, path)?));
            Ok(())
        })
    });
    match sent {
        Ok(()) => end,
        Err(error) => End::NotTaken {
            reason: error.to_string(),
        },
    }
}

/// Hand over what the delegate says until it is gone or talks nonsense.
fn listen(reader: &mut UnixStream, tell: &SyncSender<Event>) {
    while let Some(order) = next(reader) {
        if tell.send(Event::Order(order)).is_err() {
            return;
        }
    }
    drop(tell.send(Event::Closed));
}

fn next(reader: &mut impl Read) -> Option<Order> {
    let mut head = [0; frame::LENGTH];
    reader.read_exact(&mut head).ok()?;
    let mut body = vec![0; frame::length(head).ok()?];
    reader.read_exact(&mut body).ok()?;
    Order::decode(&body).ok()
}
