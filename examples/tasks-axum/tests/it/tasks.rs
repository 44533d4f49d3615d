//! Tasks: what is answered to whom, under both paths.

use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Person, World, on_both};

on_both!(
    a_task_lives_under_both_paths,
    a_list_has_filters_pages_and_an_order,
    what_is_replaced_and_what_is_changed,
    completing_twice_is_completing_once,
    wrong_bodies_are_named_field_by_field,
    wrong_queries_are_named,
    an_id_that_is_none_is_nobodys_task,
);

fn paths(person: &Person) -> [String; 2] {
    ["/api/v1/tasks".to_owned(), format!("/api/users/{}/todos", person.id)]
}

async fn a_task_lives_under_both_paths(world: World) {
    let ada = world.person("ada").await;
    for path in paths(&ada) {
        let body = json!({ "title": "Buy milk", "description": "Two litres" });
        let made = world.call(&ada.token, Method::POST, &path, Some(body)).await;
        let task = made.expect(201);
        let id = task["id"].as_str().unwrap();
        assert_eq!(made.header("content-type"), "application/json");
        assert_eq!(
            made.text,
            format!(
                r#"{{"id":"{id}","user_id":"{}","title":"Buy milk","description":"Two litres","completed":false,"created_at":"2026-09-21T14:13:20.000Z","updated_at":"2026-09-21T14:13:20.000Z"}}"#,
                ada.id
            )
        );
        // The other path shows the same task.
        for other in paths(&ada) {
            let one = format!("{other}/{id}");
            assert_eq!(world.get(&ada.token, &one).await.expect(200), task);
            assert_eq!(world.get(&ada.token, &other).await.expect(200), json!([task]));
        }
        let one = format!("{path}/{id}");
        let gone = world.call(&ada.token, Method::DELETE, &one, None).await;
        assert_eq!((gone.status, gone.text.as_str()), (204, ""));
        for method in [Method::GET, Method::DELETE] {
            world.call(&ada.token, method, &one, None).await.refused(404, "Task not found");
        }
        assert_eq!(world.get(&ada.token, &path).await.expect(200), json!([]));
    }
}

async fn a_list_has_filters_pages_and_an_order(world: World) {
    let ada = world.person("ada").await;
    for title in ["one", "two", "three", "four"] {
        let body = json!({ "title": title, "completed": title == "two" });
        world.call(&ada.token, Method::POST, "/api/v1/tasks", Some(body)).await.expect(201);
        world.advance(1);
    }
    let titles = async |query: &str| -> Vec<String> {
        let list = world.get(&ada.token, &format!("/api/v1/tasks{query}")).await.expect(200);
        let list = list.as_array().unwrap().iter();
        list.map(|task| task["title"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(titles("").await, ["four", "three", "two", "one"]);
    assert_eq!(titles("?completed=true").await, ["two"]);
    assert_eq!(titles("?completed=false").await, ["four", "three", "one"]);
    assert_eq!(titles("?limit=2").await, ["four", "three"]);
    assert_eq!(titles("?limit=2&offset=3").await, ["one"]);
    assert_eq!(titles("?offset=9007199254740991").await, [""; 0]);
    assert_eq!(titles("?unknown=%00").await.len(), 4);
    for n in 0..50 {
        let body = json!({ "title": n.to_string() });
        world.call(&ada.token, Method::POST, "/api/v1/tasks", Some(body)).await.expect(201);
    }
    assert_eq!(titles("").await.len(), 50);
    assert_eq!(titles("?limit=100").await.len(), 54);
    // Of one moment, and still in the same order each time: pages do not overlap.
    let pages = [titles("?limit=30").await, titles("?limit=30&offset=30").await].concat();
    assert_eq!(pages, titles("?limit=100").await);
}

async fn what_is_replaced_and_what_is_changed(world: World) {
    let ada = world.person("ada").await;
    for path in paths(&ada) {
        let body = json!({ "title": "one", "description": "first", "completed": true });
        let task = world.call(&ada.token, Method::POST, &path, Some(body)).await.expect(201);
        let one = format!("{path}/{}", task["id"].as_str().unwrap());
        world.advance(1);
        let shown = |reply: Value| {
            assert_eq!(reply["created_at"], task["created_at"]);
            json!([reply["title"], reply["description"], reply["completed"]])
        };
        let change = async |method: Method, body: Value| {
            shown(world.call(&ada.token, method, &one, Some(body)).await.expect(200))
        };
        assert_eq!(change(Method::PATCH, json!({})).await, json!(["one", "first", true]));
        assert_eq!(change(Method::PATCH, json!({"title": "two"})).await, json!(["two", "first", true]));
        assert_eq!(change(Method::PATCH, json!({"completed": false})).await, json!(["two", "first", false]));
        assert_eq!(change(Method::PATCH, json!({"description": null})).await, json!(["two", null, false]));
        assert_eq!(
            change(Method::PATCH, json!({"title": "x", "description": "y", "completed": true})).await,
            json!(["x", "y", true])
        );
        let reply = world.get(&ada.token, &one).await.expect(200);
        assert!(reply["updated_at"].as_str() > task["updated_at"].as_str(), "{reply}");
        // What a replacement does not name has its default.
        assert_eq!(change(Method::PUT, json!({"title": "z"})).await, json!(["z", null, false]));
        assert_eq!(
            change(Method::PUT, json!({"title": "z", "description": "d", "completed": true})).await,
            json!(["z", "d", true])
        );
    }
}

async fn completing_twice_is_completing_once(world: World) {
    let ada = world.person("ada").await;
    for path in paths(&ada) {
        let id = world.task(&ada, "Buy milk").await;
        let complete = async |body: Option<Value>| {
            let path = format!("{path}/{id}/complete");
            world.call(&ada.token, Method::PATCH, &path, body).await.expect(200)["completed"].clone()
        };
        assert_eq!(complete(None).await, true);
        assert_eq!(complete(None).await, true, "a request that is sent again does not undo");
        assert_eq!(complete(Some(json!({ "completed": false }))).await, false);
        assert_eq!(complete(Some(json!({}))).await, true);
    }
}

async fn wrong_bodies_are_named_field_by_field(world: World) {
    let ada = world.person("ada").await;
    let id = world.task(&ada, "stays").await;
    let long = |n: usize| "ä".repeat(n);
    let rows = [
        (json!({}), json!([["title", "missing", "Field required"]])),
        (json!({ "title": null }), json!([["title", "string_type", "Input should be a valid string"]])),
        (json!({ "title": 1 }), json!([["title", "string_type", "Input should be a valid string"]])),
        (
            json!({ "title": "" }),
            json!([["title", "string_too_short", "String should have at least 1 character"]]),
        ),
        (
            json!({ "title": " \t\u{2003}" }),
            json!([["title", "value_error", "Value error, must not be blank"]]),
        ),
        (
            json!({ "title": "a\0" }),
            json!([["title", "value_error", "Value error, must not contain U+0000"]]),
        ),
        (
            json!({ "title": long(201) }),
            json!([["title", "string_too_long", "String should have at most 200 characters"]]),
        ),
        (
            json!({ "title": "x", "description": long(2001) }),
            json!([["description", "string_too_long", "String should have at most 2000 characters"]]),
        ),
        (
            json!({ "title": "x", "description": [], "completed": "yes" }),
            json!([
                ["description", "string_type", "Input should be a valid string"],
                ["completed", "bool_type", "Input should be a valid boolean"]
            ]),
        ),
        (
            json!({ "title": "x", "completed": null }),
            json!([["completed", "bool_type", "Input should be a valid boolean"]]),
        ),
        (
            json!({ "user_id": "somebody", "title": "x", "id": "else", "a": 1 }),
            json!([
                ["user_id", "extra_forbidden", "Extra inputs are not permitted"],
                ["id", "extra_forbidden", "Extra inputs are not permitted"],
                ["a", "extra_forbidden", "Extra inputs are not permitted"]
            ]),
        ),
    ];
    let problems = |reply: Value| -> Value {
        let list = reply["detail"].as_array().unwrap().iter();
        list.map(|one| {
            assert_eq!(one.as_object().unwrap().keys().collect::<Vec<_>>(), ["loc", "msg", "type"]);
            assert_eq!(one["loc"][0], "body");
            json!([one["loc"][1], one["type"], one["msg"]])
        })
        .collect()
    };
    let one = format!("/api/v1/tasks/{id}");
    for (body, expected) in rows {
        for (method, path) in [(Method::POST, "/api/v1/tasks"), (Method::PUT, &one)] {
            let reply = world.call(&ada.token, method, path, Some(body.clone())).await;
            assert_eq!(problems(reply.expect(422)), expected, "{body}");
        }
        if expected[0][1] != "missing" {
            let reply = world.call(&ada.token, Method::PATCH, &one, Some(body.clone())).await;
            assert_eq!(problems(reply.expect(422)), expected, "{body}");
        }
    }
    // The longest that are allowed.
    let body = json!({ "title": long(200), "description": long(2000) });
    world.call(&ada.token, Method::POST, "/api/v1/tasks", Some(body)).await.expect(201);

    let complete = format!("{one}/complete");
    for (body, kind) in
        [(json!({ "completed": 1 }), "bool_type"), (json!({ "done": true }), "extra_forbidden")]
    {
        let reply = world.call(&ada.token, Method::PATCH, &complete, Some(body)).await.expect(422);
        assert_eq!(reply["detail"][0]["type"], kind);
    }

    // Bodies that are wrong as a whole.
    let bearer = format!("Bearer {}", ada.token);
    let raw = async |method: Method, path: &str, kind: &str, body: String| {
        let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
        world.send(method, path, &headers, body).await
    };
    for (kind, body, expected) in [
        ("application/json", "", "missing"),
        ("application/json", "{", "json_invalid"),
        ("application/json", "{\"title\":\"\\ud800\"}", "json_invalid"),
        ("application/json", "{\"title\":\"x\"} {}", "json_invalid"),
        ("application/json", "[]", "model_attributes_type"),
        ("application/json", "null", "model_attributes_type"),
        ("text/plain", "{\"title\":\"x\"}", "model_attributes_type"),
        ("application/x-www-form-urlencoded", "title=x", "model_attributes_type"),
    ] {
        let reply = raw(Method::POST, "/api/v1/tasks", kind, body.to_owned()).await.expect(422);
        assert_eq!(reply["detail"][0]["loc"], json!(["body"]), "{body}");
        assert_eq!(reply["detail"][0]["type"], expected, "{body}");
    }
    let deep = raw(Method::POST, "/api/v1/tasks", "application/json", "[".repeat(60_000)).await;
    assert_eq!(deep.expect(422)["detail"][0]["type"], "json_invalid");
    let text = "{\"title\":\"x\"}".to_owned();
    raw(Method::POST, "/api/v1/tasks", "Application/JSON; charset=utf-8", text).await.expect(201);

    let longest = |n: usize| format!("{{\"title\":\"x\"{}}}", " ".repeat(n - 13));
    raw(Method::POST, "/api/v1/tasks", "application/json", longest(64 * 1024)).await.expect(201);
    for (method, path) in [
        (Method::POST, "/api/v1/tasks"),
        (Method::PUT, &one),
        (Method::PATCH, &one),
        (Method::PATCH, &complete),
    ] {
        let reply = raw(method, path, "application/json", longest(64 * 1024 + 1)).await;
        reply.refused(413, "Request body too large");
    }
    assert_eq!(world.get(&ada.token, &one).await.expect(200)["title"], "stays");
}

async fn wrong_queries_are_named(world: World) {
    let ada = world.person("ada").await;
    let int = "Input should be a valid integer, unable to parse string as an integer";
    let flag = "Input should be a valid boolean, unable to interpret input";
    for (query, name, kind, msg) in [
        ("limit=0", "limit", "greater_than_equal", "Input should be greater than or equal to 1"),
        ("limit=101", "limit", "less_than_equal", "Input should be less than or equal to 100"),
        ("limit=ten", "limit", "int_parsing", int),
        ("limit=", "limit", "int_parsing", int),
        ("limit=1&limit=1.5", "limit", "int_parsing", int),
        ("offset=-1", "offset", "greater_than_equal", "Input should be greater than or equal to 0"),
        ("offset=9223372036854775808", "offset", "int_parsing", int),
        ("completed=maybe", "completed", "bool_parsing", flag),
        ("completed=%00", "completed", "bool_parsing", flag),
    ] {
        for path in paths(&ada) {
            let reply = world.get(&ada.token, &format!("{path}?{query}")).await.expect(422);
            let problem = json!({ "loc": ["query", name], "msg": msg, "type": kind });
            assert_eq!(reply, json!({ "detail": [problem] }), "{query}");
        }
    }
    let reply = world.get(&ada.token, "/api/v1/tasks?limit=0&offset=-1&completed=1").await.expect(422);
    assert_eq!(reply["detail"].as_array().unwrap().len(), 3);
}

async fn an_id_that_is_none_is_nobodys_task(world: World) {
    let ada = world.person("ada").await;
    let body = Some(json!({ "title": "x" }));
    let mine = world.task(&ada, "mine").await;
    // An id has one spelling.
    let (compact, braced) = (mine.replace('-', ""), format!("%7B{mine}%7D"));
    for id in [
        &compact,
        &braced,
        "1",
        "%00",
        "a%2Fb",
        "%C3%A4",
        "00000000-0000-0000-0000-000000000000",
        "' or 1=1 --",
        "%27",
    ] {
        for path in paths(&ada) {
            let one = format!("{path}/{id}");
            for (method, body) in [
                (Method::GET, None),
                (Method::PUT, body.clone()),
                (Method::PATCH, body.clone()),
                (Method::DELETE, None),
            ] {
                world.call(&ada.token, method, &one, body).await.refused(404, "Task not found");
            }
            let complete = format!("{one}/complete");
            world.call(&ada.token, Method::PATCH, &complete, None).await.refused(404, "Task not found");
        }
    }
}
