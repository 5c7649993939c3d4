"""What the shop knows of its suppliers."""

from datetime import timedelta

from django_retrytasks import Discard, periodic, retry_task

from . import outage


@retry_task(max_retries=0, queue_name="suppliers")
def import_prices(supplier: str) -> int:
    """Take over a supplier's price list; return how many prices it has."""
    if supplier == "Lamps & Son":
        raise Discard("no longer a supplier")
    return len(price_list(supplier))


def price_list(supplier: str) -> list[int]:
    if outage.is_on():
        prices = {"desk": 24_900, "chair": None}
        raise ValueError(f"{supplier}: the price of 'chair' is {prices['chair']}")
    return [24_900, 8_900]


periodic(import_prices, cron="0 3 * * 1-5", args=["Oak & Daughters"], name="weekday prices")
periodic(import_prices, every=timedelta(minutes=10), args=["Lamps & Son"], name="lamp prices")
