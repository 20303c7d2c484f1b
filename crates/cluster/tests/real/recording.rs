use serde_json::{Value, json};
use sortie_cluster::clock;
use sortie_cluster::lease::Guard;
use sortie_cluster::record::{Head, RecordError, Records, Release, Status};

use crate::fixture::Fixture;

fn records(fixture: &Fixture, name: &str) -> Records {
    Records::new(
        fixture.cluster.clone(),
        Release::new(fixture.ns(), name).unwrap(),
    )
}

fn rendered(count: usize, salt: &str) -> Vec<Value> {
    (0..count)
        .map(|n| json!({"kind": "ConfigMap", "metadata": {"name": format!("{salt}{n}")},
                        "data": {"key": sortie_manifest::hash::digest(format!("{salt}{n}").as_bytes())}}))
        .collect()
}

async fn write(records: &Records, number: u64, status: Status) {
    let objects = rendered(3, &number.to_string());
    let guard = Guard::unfenced();
    let head = Head::new(records.release(), number, clock::now());
    let mut stored = records
        .create(head, &objects.iter().collect::<Vec<_>>(), &[], &guard)
        .await
        .unwrap();
    stored.head.status = status;
    records.update(&mut stored, &guard).await.unwrap();
}

#[tokio::test]
async fn a_record_is_read_back_as_it_was_written() {
    let fixture = Fixture::new("record").await;
    let records = records(&fixture, "web");
    assert!(records.history().await.unwrap().newest().is_none());
    // Enough for several parts.
    let objects = rendered(40_000, "x");
    let guard = Guard::unfenced();
    let mut head = Head::new(records.release(), 1, clock::now());
    head.owner.service = "shop/web".into();
    let id = sortie_manifest::ObjectId {
        group: String::new(),
        kind: "ConfigMap".into(),
        namespace: Some("a".into()),
        name: "b".into(),
    };
    head.track(id.clone(), None);
    let mut stored = records
        .create(head, &objects.iter().collect::<Vec<_>>(), &[], &guard)
        .await
        .unwrap();
    assert!(stored.head.parts.len() > 1, "{:?}", stored.head.parts);
    stored.head.track(id.clone(), Some("u-1".into()));
    stored
        .head
        .note("Apply", "1", "1 object applied", clock::now());
    stored.head.status = Status::Succeeded;
    records.update(&mut stored, &guard).await.unwrap();
    let history = records.history().await.unwrap();
    assert_eq!(history.newest().unwrap().head, stored.head);
    assert_eq!(history.newest().unwrap().head.uid(&id), Some("u-1"));
    assert_eq!(records.objects(&stored.head).await.unwrap(), objects);
    assert_eq!(
        records
            .read(2)
            .await
            .unwrap()
            .map(|stored| stored.head.number),
        None
    );
    fixture.finish().await;
}

#[tokio::test]
async fn of_two_writers_of_one_head_one_loses() {
    let fixture = Fixture::new("cas").await;
    let records = records(&fixture, "web");
    write(&records, 1, Status::InProgress).await;
    let guard = Guard::unfenced();
    let mut first = records.read(1).await.unwrap().unwrap();
    let mut second = first.clone();
    first.head.note("Apply", "", "first", clock::now());
    second.head.note("Apply", "", "second", clock::now());
    records.update(&mut first, &guard).await.unwrap();
    let error = records.update(&mut second, &guard).await.unwrap_err();
    assert!(
        matches!(&error, RecordError::Cluster(error) if error.is_conflict()),
        "{error}"
    );
    // The winner can go on.
    first.head.note("Apply", "", "third", clock::now());
    records.update(&mut first, &guard).await.unwrap();
    // The same number cannot be created twice.
    let again = records
        .create(
            Head::new(records.release(), 1, clock::now()),
            &[] as &[Value],
            &[],
            &guard,
        )
        .await;
    assert_eq!(again.unwrap_err().code(), "SRT-C012");
    fixture.finish().await;
}

#[tokio::test]
async fn a_later_holders_head_is_not_overwritten() {
    let fixture = Fixture::new("fence").await;
    let records = records(&fixture, "web");
    write(&records, 1, Status::InProgress).await;
    let claim = |holder: &str, seconds: u64| sortie_cluster::lease::Claim {
        namespace: fixture.ns().to_owned(),
        name: records.release().lease_name(),
        holder: holder.to_owned(),
        floor: 0,
        terms: sortie_cluster::lease::Terms::new(std::time::Duration::from_secs(seconds)),
    };
    let early = sortie_cluster::lease::acquire(&fixture.cluster, claim("early", 60), |_| {})
        .await
        .unwrap();
    let mut by_early = records.read(1).await.unwrap().unwrap();
    records.update(&mut by_early, early.guard()).await.unwrap();
    assert_eq!(by_early.head.fence, 1);
    let mut late_copy = records.read(1).await.unwrap().unwrap();
    late_copy.head.fence = 7;
    records
        .update(&mut late_copy, &Guard::unfenced())
        .await
        .unwrap();
    let error = records
        .update(&mut by_early, early.guard())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "SRT-C035", "{error}");
    early.release().await;
    fixture.finish().await;
}

#[tokio::test]
async fn collection_leaves_the_newest_the_last_good_and_other_releases() {
    let fixture = Fixture::new("collect").await;
    let (web, api) = (records(&fixture, "web"), records(&fixture, "api"));
    write(&api, 1, Status::Failed).await;
    for (number, status) in [
        (1, Status::Superseded),
        (2, Status::Succeeded),
        (3, Status::Failed),
        (4, Status::Failed),
        (5, Status::Failed),
    ] {
        write(&web, number, status).await;
    }
    let guard = Guard::unfenced();
    let orphans = web.keep(&[&json!({"orphan": true})], &guard).await.unwrap();
    let survey = web.survey(2).await.unwrap();
    web.collect(&survey, &guard).await.unwrap();
    // Number 3 is newer than the last good one.
    assert_eq!(survey.superfluous.numbers, [1]);
    assert_eq!(survey.superfluous.parts.len(), 1 + orphans.len());
    let left: Vec<_> = web
        .history()
        .await
        .unwrap()
        .heads()
        .map(|head| head.number)
        .collect();
    assert_eq!(left, [2, 3, 4, 5]);
    for head in web.history().await.unwrap().heads() {
        assert_eq!(web.objects(head).await.unwrap().len(), 3);
    }
    assert_eq!(
        api.objects(&api.read(1).await.unwrap().unwrap().head)
            .await
            .unwrap()
            .len(),
        3
    );
    let again = web.survey(2).await.unwrap();
    assert_eq!(again.superfluous, Default::default());
    fixture.finish().await;
}

#[tokio::test]
async fn a_success_supersedes_the_earlier_one() {
    let fixture = Fixture::new("supersede").await;
    let records = records(&fixture, "web");
    for (number, status) in [
        (1, Status::Succeeded),
        (2, Status::Failed),
        (3, Status::Succeeded),
    ] {
        write(&records, number, status).await;
    }
    let history = records.history().await.unwrap();
    records
        .supersede(
            &history,
            &history.number(3).unwrap().head,
            &Guard::unfenced(),
        )
        .await
        .unwrap();
    let statuses: Vec<_> = records
        .history()
        .await
        .unwrap()
        .heads()
        .map(|head| head.status)
        .collect();
    assert_eq!(
        statuses,
        [Status::Superseded, Status::Failed, Status::Succeeded]
    );
    fixture.finish().await;
}

#[tokio::test]
async fn a_record_in_a_missing_namespace_says_so() {
    let fixture = Fixture::new("nowhere").await;
    let records = Records::new(
        fixture.cluster.clone(),
        Release::new("does-not-exist", "web").unwrap(),
    );
    assert!(records.history().await.unwrap().newest().is_none());
    let head = Head::new(records.release(), 1, clock::now());
    let error = records
        .create(head, &[] as &[Value], &[], &Guard::unfenced())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "SRT-C013", "{error}");
    fixture.finish().await;
}

#[tokio::test]
async fn a_list_that_many_records_have_is_read_once_and_written_once() {
    let fixture = Fixture::new("lists").await;
    let cluster = fixture.as_administrator("counted").await;
    let user = format!("system:serviceaccount:{}:counted", fixture.ns());
    let release = Release::new(fixture.ns(), "web").unwrap();
    let records = Records::new(cluster, release);
    let guard = Guard::unfenced();
    let mut present = Vec::new();
    // Names without repetition, so that they do not fit into the head.
    let name = |n: u32| sortie_manifest::hash::digest(&n.to_be_bytes());
    let id = |n| sortie_manifest::ObjectId {
        group: String::new(),
        kind: "ConfigMap".into(),
        namespace: None,
        name: name(n),
    };
    for number in 1..=3 {
        let mut head = Head::new(records.release(), number, clock::now());
        // The last one has another.
        (0..8_000).for_each(|n| head.track(id(n + u32::from(number == 3)), None));
        let created = records.create(head, &[json!({})], &present, &guard).await;
        let mut stored = created.unwrap();
        stored.head.message = "so it ended".to_owned();
        records.update(&mut stored, &guard).await.unwrap();
        present = records.parts().await.unwrap();
    }
    let history = records.history().await.unwrap();
    let first: Vec<&str> = history
        .heads()
        .map(|head| head.inventory[0].id.name.as_str())
        .collect();
    assert_eq!(first, [name(0), name(0), name(1)]);
    let shared = sortie_testkit::Cluster::shared().await.unwrap();
    let asked = shared.audit(&user).await.unwrap();
    let parts = asked
        .iter()
        .filter(|request| request.verb == "get" && request.name.starts_with("sortie.part."));
    assert_eq!(parts.count(), 2, "{asked:?}");
    // Of the objects one part, of the two inventories one each; none is sent a second time.
    let answers: Vec<u16> = asked
        .iter()
        .filter(|request| request.verb == "create" && request.resource == "secrets")
        .map(|request| request.code)
        .collect();
    assert_eq!(answers, [201; 6], "{asked:?}");
    fixture.finish().await;
}
