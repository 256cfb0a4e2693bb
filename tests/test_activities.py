"""What each activity returns, and which payments are declined."""

import dataclasses
from datetime import UTC, datetime

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

import activities
from shared import Order
from tests.helpers import RESULTS, new_order


@pytest.fixture(autouse=True)
def _no_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activities, "SIMULATED_LATENCY_SECONDS", 0)


def run(step: str, order: Order, scheduled: str = "2030-06-15 12:00:00") -> str:
    """Run an activity as if it was scheduled at a UTC time, for the workflow order-1."""
    time = datetime.fromisoformat(scheduled).replace(tzinfo=UTC)
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(
        environment.info, activity_type=step, workflow_id="order-1", scheduled_time=time
    )
    result: str = environment.run(getattr(activities, step), order)
    return result


@pytest.mark.parametrize("step", RESULTS)
def test_activity_returns_what_its_stub_returns(step: str) -> None:
    assert run(step, new_order()) == RESULTS[step]


@pytest.mark.parametrize(
    ("step", "quantity", "price", "result"),
    [
        ("process_payment", 1, "0.01", "authorized $0.01"),
        ("process_payment", 3, "0.10", "authorized $0.30"),
        ("process_payment", 999, "999999.99", "authorized $998999990.01"),
        ("reserve_inventory", 3, "0.10", "reserved 3 x Temporal mug"),
    ],
)
def test_quantity_and_exact_total(step: str, quantity: int, price: str, result: str) -> None:
    assert run(step, new_order(quantity=quantity, price=price)) == result


@pytest.mark.parametrize(
    ("cc_expiry", "last_second", "next_second"),
    [  # A month ends last at UTC-12, which is noon in UTC.
        ("09/30", "2030-10-01 11:59:59", "2030-10-01 12:00:00"),
        ("12/99", "2100-01-01 11:59:59", "2100-01-01 12:00:00"),
    ],
)
def test_expired_card_is_declined_and_not_retried(
    cc_expiry: str, last_second: str, next_second: str
) -> None:
    order = new_order(cc_expiry=cc_expiry)
    assert run("process_payment", order, last_second) == "authorized $39.98"
    with pytest.raises(ApplicationError, match=r"^CreditCardExpired: credit card") as error:
        run("process_payment", order, next_second)
    assert error.value.non_retryable


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("order_id", "order-2", "order_id must be the workflow ID"),
        ("cc_expiry", "00/30", "cc_expiry must be MM/YY"),
        ("cc_expiry", "12/2030", "cc_expiry must be MM/YY"),
        ("price", "19.999", "price must be 0.00 to 999999.99"),
        ("price", "1000000.00", "price must be 0.00 to 999999.99"),
        ("quantity", 0, "quantity must be 1 to 999"),
        ("quantity", 1000, "quantity must be 1 to 999"),
    ],
)
def test_invalid_order_names_its_field_and_is_not_retried(
    field: str, value: object, message: str
) -> None:
    with pytest.raises(ApplicationError, match=f"^InvalidOrder: {message}$") as error:
        run("process_payment", new_order(**{field: value}))
    assert error.value.non_retryable
