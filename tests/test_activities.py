"""What each activity does with an order, and which orders the payment refuses."""

import asyncio
import dataclasses
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities import deliver_order, process_payment, reserve_inventory
from shared import Order
from tests.orders import ACTIVITIES, an_order

pytestmark = pytest.mark.usefixtures("_no_latency")


async def pay(order: Order, today: str = "2030-06-15 12:00:00") -> str:
    """Run the payment as scheduled at a time of ours, and attempted much later."""
    environment = ActivityEnvironment()
    scheduled = datetime.fromisoformat(today).replace(tzinfo=UTC)
    environment.info = dataclasses.replace(
        environment.info, scheduled_time=scheduled, started_time=scheduled + timedelta(days=40)
    )
    result: str = await environment.run(process_payment, order)
    return result


@pytest.mark.parametrize(
    ("activity", "expected"),
    [
        (process_payment, "charged $39.98"),
        (reserve_inventory, "reserved 2 x Temporal mug"),
        (deliver_order, "delivered"),
    ],
)
async def test_result(activity: Callable[[Order], Coroutine[Any, Any, str]], expected: str) -> None:
    assert await ActivityEnvironment().run(activity, an_order()) == expected


@pytest.mark.parametrize(
    ("quantity", "price_cents", "total"),
    [
        (1, 1, "$0.01"),
        (3, 5, "$0.15"),
        (1, 100, "$1.00"),
        (7, 1_999, "$139.93"),
        (999_999, 999_999, "$9999980000.01"),
        (1_000_000, 1_000_000, "$10000000000.00"),
    ],
)
def test_total_is_exact_to_the_cent(quantity: int, price_cents: int, total: str) -> None:
    assert an_order(quantity=quantity, price_cents=price_cents).total == total


@pytest.mark.parametrize(
    ("cc_expiry", "today"),
    [
        ("06/30", "2030-06-01 00:00:00"),
        ("06/30", "2030-06-30 23:59:59"),
        ("02/28", "2028-02-29 23:59:59"),
        ("12/29", "2029-12-31 23:59:59"),
        ("01/30", "2029-12-31 23:59:59"),
        ("12/99", "2099-12-31 23:59:59"),
        ("12/99", "2046-11-23 00:00:00"),
    ],
)
async def test_card_is_valid_through_the_last_day_of_its_month(cc_expiry: str, today: str) -> None:
    assert await pay(an_order(cc_expiry=cc_expiry), today) == "charged $39.98"


@pytest.mark.parametrize(
    ("cc_expiry", "today"),
    [
        ("06/30", "2030-07-01 00:00:00"),
        ("02/28", "2028-03-01 00:00:00"),
        ("12/29", "2030-01-01 00:00:00"),
        ("12/23", "2026-11-23 00:00:00"),
        ("01/30", "2030-12-01 00:00:00"),  # as texts, 01/30 comes before 12/30 either way
        ("12/29", "2030-01-31 00:00:00"),  # as texts, 12/29 comes after 01/30
        ("12/99", "2100-01-01 00:00:00"),
        ("01/00", "2026-11-23 00:00:00"),
    ],
)
async def test_expired_card_is_refused_for_good(cc_expiry: str, today: str) -> None:
    with pytest.raises(ApplicationError) as refused:
        await pay(an_order(cc_expiry=cc_expiry), today)
    assert refused.value.type == "CreditCardExpired"
    assert refused.value.non_retryable
    assert refused.value.message == f"credit card expired, cc_expiry is {cc_expiry}"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[
            ("cc_expiry", text)
            for text in ("", " ", "13/30", "00/30", "1/30", "12-30", "1230", "12/2030", "12/3")
        ],
        *[
            ("cc_expiry", text)
            for text in (" 12/30", "12/30 ", "12/30\n", "12 / 30", "12/30/01", "30/12", "-1/30")
        ],
        ("cc_expiry", "1２/30"),  # noqa: RUF001  a full-width digit is the point
        ("cc_expiry", "12/3０"),  # noqa: RUF001  and here in the year
        ("cc_expiry", "١٢/٣٠"),
        ("cc_expiry", "12/30" * 100_000),
        ("order_id", ""),
        ("order_id", " \t"),
        ("order_id", "x" * 101),
        ("item", ""),
        ("item", "   "),
        ("item", "x" * 101),
        ("item", "x" * 2_000_000),
        ("quantity", 0),
        ("quantity", -1),
        ("quantity", 1_000_001),
        ("quantity", 10**100),
        ("price_cents", 0),
        ("price_cents", -1_999),
        ("price_cents", 1_000_001),
    ],
)
async def test_order_that_cannot_be_charged_is_refused_for_good(field: str, value: Any) -> None:
    with pytest.raises(ApplicationError) as refused:
        await pay(an_order(**{field: value}))
    assert refused.value.type == "InvalidOrder"
    assert refused.value.non_retryable
    rules = {"cc_expiry": "MM/YY", "order_id": "1 to 100 characters", "item": "1 to 100 characters"}
    rule = rules.get(field, "1 to 1000000")
    assert refused.value.message == f"{field} must be {rule}"


async def test_all_that_is_wrong_is_named() -> None:
    with pytest.raises(ApplicationError) as refused:
        await pay(an_order(quantity=0, cc_expiry="soon"))
    assert refused.value.message == "quantity must be 1 to 1000000; cc_expiry must be MM/YY"


@pytest.mark.parametrize("field", ["order_id", "item"])
async def test_longest_and_shortest_texts_are_fine(field: str) -> None:
    for text in ("x", "x" * 100, " x "):
        assert await pay(an_order(**{field: text})) == "charged $39.98"


@pytest.mark.parametrize("number", [1, 1_000_000])
async def test_least_and_greatest_numbers_are_fine(number: int) -> None:
    order = an_order(quantity=number, price_cents=number)
    assert await pay(order) == f"charged {order.total}"


async def test_steps_take_about_a_second_and_hold_nothing_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()  # of _no_latency
    loop = asyncio.get_running_loop()

    async def seconds(step: Callable[[Order], Coroutine[Any, Any, str]]) -> float:
        begin = loop.time()
        await ActivityEnvironment().run(step, an_order())
        return loop.time() - begin

    took = await asyncio.gather(*[seconds(step) for step in ACTIVITIES * 4])
    assert min(took) > 0.9
    assert max(took) < 2.9  # not 12, as one after the other
