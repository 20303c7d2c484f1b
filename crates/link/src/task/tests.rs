use super::*;

fn holder(instance: &str, boot: &str) -> Holder {
    Holder {
        delegate: "d".into(),
        instance: instance.into(),
        boot: boot.into(),
    }
}

const STANDINGS: [&str; 9] = [
    "queued",
    "offered",
    "accepted",
    "running",
    "succeeded",
    "failed",
    "aborted",
    "lost",
    "expired",
];

fn task(standing: &str, recovery: Recovery, is_cancelled: bool) -> Task {
    let holder = holder("i", "b1");
    let standing = match standing {
        "queued" => Standing::Queued,
        "offered" => Standing::Offered { holder },
        "accepted" => Standing::Accepted { holder },
        "running" => Standing::Running { holder },
        "succeeded" => Standing::Ended {
            end: Ending::Succeeded,
        },
        "failed" => Standing::Ended {
            end: Ending::Failed,
        },
        "aborted" => Standing::Ended {
            end: Ending::Aborted,
        },
        "lost" => Standing::Ended { end: Ending::Lost },
        "expired" => Standing::Ended {
            end: Ending::Expired,
        },
        other => panic!("{other}"),
    };
    Task {
        recovery,
        epoch: 3,
        is_cancelled,
        attempts: 1,
        losses: 0,
        standing,
    }
}

fn name(task: &Task) -> &'static str {
    match task.standing {
        Standing::Queued => "queued",
        Standing::Offered { .. } => "offered",
        Standing::Accepted { .. } => "accepted",
        Standing::Running { .. } => "running",
        Standing::Ended { end } => match end {
            Ending::Succeeded => "succeeded",
            Ending::Failed => "failed",
            Ending::Aborted => "aborted",
            Ending::Lost => "lost",
            Ending::GivenUp => "given up",
            Ending::Expired => "expired",
            Ending::Forbidden => "forbidden",
        },
    }
}

/// All events, with the standing each leads to from queued, offered, accepted, running; "-" is stale, "=" is repeated.
/// From every ended standing each is stale, except a repeat under the present epoch.
fn table() -> Vec<(&'static str, Event, [&'static str; 4])> {
    use RefusalReason as R;
    let me = || holder("i", "b1");
    let reborn = || holder("i", "b2");
    let other = || holder("j", "b1");
    vec![
        (
            "offer",
            Event::Offer { holder: other() },
            ["offered", "-", "-", "-"],
        ),
        (
            "accept",
            Event::Accepted {
                holder: me(),
                epoch: 3,
            },
            ["-", "accepted", "=", "="],
        ),
        (
            "accept by another",
            Event::Accepted {
                holder: other(),
                epoch: 3,
            },
            ["-"; 4],
        ),
        (
            "accept by a newer boot",
            Event::Accepted {
                holder: reborn(),
                epoch: 3,
            },
            ["-"; 4],
        ),
        (
            "accept, old epoch",
            Event::Accepted {
                holder: me(),
                epoch: 2,
            },
            ["-"; 4],
        ),
        ("refuse", refusal(R::Capacity), ["-", "queued", "-", "-"]),
        (
            "refuse, stale",
            refusal(R::Stale),
            ["-", "queued", "-", "-"],
        ),
        (
            "refuse, policy",
            refusal(R::Policy),
            ["-", "forbidden", "-", "-"],
        ),
        (
            "progress",
            Event::Progressed {
                holder: me(),
                epoch: 3,
            },
            ["-", "-", "running", "="],
        ),
        (
            "progress, old epoch",
            Event::Progressed {
                holder: me(),
                epoch: 1,
            },
            ["-"; 4],
        ),
        (
            "success",
            finish(me(), 3, End::Succeeded),
            ["-", "succeeded", "succeeded", "succeeded"],
        ),
        (
            "failure",
            finish(me(), 3, End::Failed),
            ["-", "failed", "failed", "failed"],
        ),
        (
            "abort",
            finish(me(), 3, End::Aborted),
            ["-", "aborted", "aborted", "aborted"],
        ),
        (
            "success, old epoch",
            finish(me(), 2, End::Succeeded),
            ["-"; 4],
        ),
        (
            "success by another",
            finish(other(), 3, End::Succeeded),
            ["-"; 4],
        ),
        (
            "hand back",
            Event::HandedBack {
                holder: me(),
                epoch: 3,
            },
            ["-", "queued", "LOST", "LOST"],
        ),
        (
            "hand back, old epoch",
            Event::HandedBack {
                holder: me(),
                epoch: 2,
            },
            ["-"; 4],
        ),
        (
            "hand back by a newer boot",
            Event::HandedBack {
                holder: reborn(),
                epoch: 3,
            },
            ["-"; 4],
        ),
        (
            "cancel",
            Event::Cancel,
            ["aborted", "offered", "accepted", "running"],
        ),
        (
            "hello with it",
            greet(me(), Some(3)),
            ["-", "=", "accepted", "running"],
        ),
        (
            "hello without it",
            greet(me(), None),
            ["-", "offered", "LOST", "LOST"],
        ),
        (
            "hello with an old epoch",
            greet(me(), Some(2)),
            ["-", "offered", "LOST", "LOST"],
        ),
        (
            "hello of a newer boot",
            greet(reborn(), None),
            ["-", "queued", "LOST", "LOST"],
        ),
        (
            "hello of a newer boot with it",
            greet(reborn(), Some(3)),
            ["-", "queued", "LOST", "LOST"],
        ),
        ("hello of another instance", greet(other(), None), ["-"; 4]),
        (
            "away",
            Event::Away { holder: me() },
            ["-", "queued", "LOST", "LOST"],
        ),
        ("another away", Event::Away { holder: other() }, ["-"; 4]),
        ("expired", Event::Expired, ["expired", "-", "-", "-"]),
    ]
}

fn refusal(reason: RefusalReason) -> Event {
    Event::Refused {
        holder: holder("i", "b1"),
        epoch: 3,
        reason,
    }
}

fn finish(holder: Holder, epoch: u64, end: End) -> Event {
    Event::Finished { holder, epoch, end }
}

fn greet(holder: Holder, held: Option<u64>) -> Event {
    Event::Greeted { holder, held }
}

#[test]
fn every_standing_and_event() {
    for recovery in [Recovery::Resumable, Recovery::Once] {
        for (event_name, event, wants) in table() {
            for (standing, want) in STANDINGS.iter().zip(wants) {
                let before = task(standing, recovery, false);
                let after = apply(&before, &event);
                let context = format!("{recovery:?}: {standing} + {event_name}");
                match want {
                    "-" => assert_eq!(after.verdict, Verdict::Stale, "{context}"),
                    "=" => assert_eq!(after.verdict, Verdict::Repeated, "{context}"),
                    want => {
                        let lost = if recovery == Recovery::Once {
                            "lost"
                        } else {
                            "queued"
                        };
                        let want = if want == "LOST" { lost } else { want };
                        assert_eq!(after.verdict, Verdict::Applied, "{context}");
                        assert_eq!(name(&after.task), want, "{context}");
                    }
                }
                check_invariants(&before, &after, &context);
            }
        }
    }
}

#[test]
fn nothing_leaves_an_end() {
    for standing in &STANDINGS[4..] {
        for (event_name, event, _) in table() {
            let before = task(standing, Recovery::Resumable, false);
            let after = apply(&before, &event);
            assert_eq!(after.task, before, "{standing} + {event_name}");

            assert!(
                after.actions.iter().all(|a| *a == Action::Supersede),
                "{standing} + {event_name}"
            );
            let repeats = matches!(
                event,
                Event::Progressed { epoch: 3, .. } | Event::Finished { epoch: 3, .. }
            );
            assert_eq!(
                after.verdict == Verdict::Repeated,
                repeats,
                "{standing} + {event_name}"
            );
        }
    }
}

#[test]
fn a_cancelled_task_is_never_offered_again() {
    for recovery in [Recovery::Resumable, Recovery::Once] {
        for standing in ["offered", "accepted", "running"] {
            for (event_name, event, _) in table() {
                let after = apply(&task(standing, recovery, true), &event);
                assert_ne!(name(&after.task), "queued", "{standing} + {event_name}");
                assert!(
                    !after.actions.contains(&Action::Place),
                    "{standing} + {event_name}"
                );
            }
            let back = apply(
                &task(standing, recovery, true),
                &greet(holder("i", "b1"), Some(3)),
            );
            assert_eq!(
                back.actions.last(),
                Some(&Action::Cancel),
                "the returning holder hears of it again"
            );
        }
    }
}

fn check_invariants(before: &Task, after: &Transition, context: &str) {
    let epoch_moves =
        after.actions.contains(&Action::Assign) && matches!(before.standing, Standing::Queued);
    assert_eq!(
        after.task.epoch,
        before.epoch + u64::from(epoch_moves),
        "{context}"
    );
    let ends = after.task.is_ended() && !before.is_ended();
    assert_eq!(after.actions.contains(&Action::Deliver), ends, "{context}");
    let queues = after.task.standing == Standing::Queued && before.standing != Standing::Queued;
    assert_eq!(after.actions.contains(&Action::Place), queues, "{context}");
    if after.verdict != Verdict::Applied {
        assert_eq!(&after.task, before, "{context}");

        assert!(
            after.actions.iter().all(|a| *a == Action::Supersede),
            "{context}"
        );
    }
}

#[test]
fn who_accepts_in_vain_is_told_so() {
    let accept = Event::Accepted {
        holder: holder("i", "b1"),
        epoch: 2,
    };
    for standing in STANDINGS {
        let after = apply(&task(standing, Recovery::Once, false), &accept);
        assert_eq!(after.actions, [Action::Supersede], "{standing}");
    }
    let accept = Event::Accepted {
        holder: holder("i", "b1"),
        epoch: 3,
    };
    let after = apply(&task("offered", Recovery::Once, false), &accept);
    assert_eq!(after.actions, [Action::Start]);
}

/// A task that kills whoever runs it must not kill them for ever.
#[test]
fn a_task_that_loses_every_holder_fails_at_last() {
    let me = || holder("i", "b1");
    let mut record = Task::new(Recovery::Resumable);
    let mut step = |event: Event| {
        let after = apply(&record, &event);
        check_invariants(&record, &after, &format!("{event:?}"));
        record = after.task;
        (name(&record), record.losses)
    };
    let mut epoch = 0;
    for losses in 1..=MAX_LOSSES {
        // Neither an offer that was not answered nor a task that was handed back is a loss.
        step(Event::Offer { holder: me() });
        assert_eq!(step(Event::Away { holder: me() }), ("queued", losses - 1));
        step(Event::Offer { holder: me() });
        epoch += 2;
        let accepted = Event::Accepted {
            holder: me(),
            epoch,
        };
        step(accepted);
        let back = Event::HandedBack {
            holder: me(),
            epoch,
        };
        assert_eq!(step(back), ("queued", losses - 1));
        step(Event::Offer { holder: me() });
        epoch += 1;
        let accepted = Event::Accepted {
            holder: me(),
            epoch,
        };
        step(accepted);
        let want = if losses < MAX_LOSSES {
            "queued"
        } else {
            "given up"
        };
        assert_eq!(step(Event::Away { holder: me() }), (want, losses));
    }
    assert!(record.is_ended());
    assert_eq!(record.attempts, 2 * MAX_LOSSES);
}
