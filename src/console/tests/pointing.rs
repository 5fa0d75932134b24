//! The mouse on the real loop.

use crossterm::event::MouseButton;

use super::*;

const LEFT: MouseEventKind = MouseEventKind::Down(MouseButton::Left);
const DRAG: MouseEventKind = MouseEventKind::Drag(MouseButton::Left);
const UP: MouseEventKind = MouseEventKind::Up(MouseButton::Left);

#[tokio::test]
async fn a_click_selects_a_row_and_a_second_one_opens_it() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 40));
    let (x, y) = tester.find("quotes").await;
    tester.mouse(LEFT, x, y).await;
    assert_eq!(tester.runtime.app.selected_table().as_deref(), Some("quotes"));
    tester.mouse(LEFT, x + 3, y).await;
    tester.sees("table quotes").await;
}

#[tokio::test]
async fn headers_sort_tabs_and_the_footers_keys_do_what_they_say() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 40));
    let (x, y) = tester.find("ITEMS").await;
    tester.mouse(LEFT, x, y).await;
    tester.sees("sort: items").await;
    let (x, y) = tester.find("Streams").await;
    tester.mouse(LEFT, x, y).await;
    tester.sees("streams 1").await;
    let (x, y) = tester.find("filter").await;
    tester.mouse(LEFT, x, y).await;
    tester.sees("filter:").await;
}

#[tokio::test]
async fn a_click_closes_the_tour_and_does_nothing_else() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 40));
    let (x, y) = tester.find("quotes").await;
    tester.runtime.app.tour = true;
    tester.mouse(LEFT, x, y).await;
    assert!(!tester.look().await.contains("first steps"));
    assert_eq!(tester.runtime.app.selected_table().as_deref(), Some("historical"));
}

#[tokio::test]
async fn each_step_of_the_way_down_can_be_clicked() {
    let mut tester = Tester::watching(r7f3a(), Mode::Normal, (120, 40));
    tester.press("i").await;
    let screen = tester.look().await;
    assert!(screen.contains("Jobs › r-7f3a › historical"), "{screen}");
    let (x, y) = tester.find("r-7f3a › historical").await;
    // What is on screen is nowhere to go to, nor is what stands between.
    for offset in ["r-7f3a › ".chars().count(), "r-7f3a".len() + 1] {
        tester.mouse(LEFT, x + offset as u16, y).await;
        assert_eq!(tester.runtime.app.screen, Screen::Table("historical".into()));
    }
    tester.mouse(LEFT, x + 2, y).await;
    assert_eq!((&tester.runtime.app.screen, tester.runtime.app.behind.len()), (&r7f3a(), 1));
    tester.press("i").await;
    let (x, y) = tester.find("Jobs › r-7f3a").await;
    tester.mouse(LEFT, x, y).await;
    assert_eq!((&tester.runtime.app.screen, tester.runtime.app.behind.len()), (&Screen::Jobs, 0));
}

#[tokio::test]
async fn the_wheel_scrolls_lists_and_leaves_forms_alone() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 40));
    tester.mouse(MouseEventKind::ScrollDown, 10, 10).await;
    assert_eq!(tester.runtime.app.selected_table().as_deref(), Some("sessions"));
    tester.mouse(MouseEventKind::ScrollUp, 10, 10).await;
    assert_eq!(tester.runtime.app.selected_table().as_deref(), Some("historical"));
    tester.press("R").await;
    let at = tester.runtime.app.form.as_ref().unwrap().fields.at;
    tester.mouse(MouseEventKind::ScrollDown, 10, 10).await;
    assert_eq!(tester.runtime.app.form.as_ref().unwrap().fields.at, at);
    let (x, y) = tester.find("stream").await;
    tester.mouse(LEFT, x, y).await;
    assert_ne!(tester.runtime.app.form.as_ref().unwrap().fields.at, at);
}

#[tokio::test]
async fn the_crosshair_follows_the_mouse_over_a_chart_and_goes_with_it() {
    let mut tester = Tester::watching(r7f3a(), Mode::Normal, (120, 40));
    let (x, y) = tester.find("records/s").await;
    tester.mouse(MouseEventKind::Moved, x + 12, y + 4).await;
    let at = tester.runtime.app.time.cursor_ms;
    assert!(at.is_some());
    tester.mouse(MouseEventKind::Moved, x + 15, y + 4).await;
    assert!(tester.runtime.app.time.cursor_ms > at);
    tester.mouse(MouseEventKind::Moved, 0, 0).await;
    assert_eq!(tester.runtime.app.time.cursor_ms, None);
    // A click leaves it there.
    tester.mouse(LEFT, x + 12, y + 4).await;
    tester.mouse(UP, x + 12, y + 4).await;
    tester.mouse(MouseEventKind::Moved, 0, 0).await;
    assert_eq!(tester.runtime.app.time.cursor_ms, at);
}

#[tokio::test]
async fn a_chart_is_dragged_through_time() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 40));
    tester.press("enter").await;
    let before = tester.runtime.app.span();
    let (x, y) = tester.find("write, WCU/s").await;
    tester.mouse(LEFT, x + 10, y + 5).await;
    tester.mouse(DRAG, x + 20, y + 5).await;
    tester.mouse(UP, x + 20, y + 5).await;
    let after = tester.runtime.app.span();
    assert!(after.to_ms < before.to_ms && after.window_ms() == before.window_ms(), "{after:?}");
    tester.mouse(DRAG, x + 30, y + 5).await;
    assert_eq!(tester.runtime.app.span(), after, "nothing is held any more");
}

#[tokio::test]
async fn a_mouse_that_moves_over_nothing_draws_nothing() {
    let mut tester = Tester::watching(Screen::Jobs, Mode::Normal, (120, 40));
    tester.look().await;
    for x in 0..50 {
        let event = MouseEvent { kind: MouseEventKind::Moved, column: x, row: 20, modifiers: KeyModifiers::NONE };
        tester.keys.unbounded_send(Ok(Event::Mouse(event))).unwrap();
    }
    let frames = tester.runtime.frames;
    tester.runtime.step().await.unwrap();
    assert!(!tester.runtime.app.dirty);
    assert_eq!(tester.runtime.frames, frames);
}

#[tokio::test]
async fn a_text_is_the_terminals_to_select_from_and_a_key_gives_it_the_mouse_for_good() {
    let mut tester = Tester::watching(r7f3a(), Mode::Normal, (120, 40));
    tester.look().await;
    assert!(tester.runtime.app.wants_mouse());
    tester.press("l").await;
    assert!(!tester.runtime.app.wants_mouse());
    tester.press("esc ?").await;
    assert!(!tester.runtime.app.wants_mouse());
    tester.press("esc alt-m").await;
    tester.sees("the mouse is the terminal's").await;
    assert!(!tester.runtime.app.wants_mouse());
    tester.press("alt-m").await;
    assert!(tester.runtime.app.wants_mouse());
}

#[tokio::test]
async fn a_question_is_answered_by_its_own_keys_and_nothing_below_it_is_hit() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 40));
    let (x, y) = tester.find("quotes").await;
    tester.press("+").await;
    tester.sees("do it").await;
    tester.mouse(LEFT, x, y).await;
    tester.mouse(LEFT, 3, 1).await;
    assert!(tester.runtime.app.overlay.is_some());
    assert_eq!(tester.runtime.app.selected_table().as_deref(), Some("historical"));
    let screen = tester.screen();
    let line = screen.lines().last().unwrap();
    let at = line.find("leave it").unwrap_or_else(|| panic!("{screen}"));
    let x = line[..at].chars().count() as u16;
    tester.mouse(LEFT, x, 39).await;
    assert!(tester.runtime.app.overlay.is_none());
    assert_eq!(tester.changed(), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_mouse_anywhere_at_any_size_does_no_harm(
        size in (1_u16..140, 1_u16..45),
        events in prop::collection::vec((0_usize..6, 0_u16..150, 0_u16..50), 1..25),
        screen in 0_usize..6,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let screen = match screen {
                0 => Screen::Tables,
                1 => Screen::Streams,
                2 => Screen::Jobs,
                3 => r7f3a(),
                4 => Screen::Table("historical".into()),
                _ => Screen::Dead(JobId("r-7f3a".into())),
            };
            let mut tester = Tester::watching(screen, Mode::ReadOnly, size);
            tester.look().await;
            for (kind, column, row) in events {
                let kind = [LEFT, DRAG, UP, MouseEventKind::Moved, MouseEventKind::ScrollDown, MouseEventKind::ScrollUp][kind];
                tester.mouse(kind, column, row).await;
                if tester.runtime.app.done {
                    // The footer's quit was hit.
                    break;
                }
            }
            assert!(tester.changed().is_empty());
        });
    }
}
