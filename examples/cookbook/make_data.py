"""Makes the small tables of these examples anew: ``python examples/cookbook/make_data.py``."""

from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
ROWS = 120


def main() -> None:
    """Write all of them."""
    draw = np.random.default_rng(0)
    months = draw.integers(1, 60, ROWS)
    contract = draw.choice(["monthly", "yearly"], ROWS)
    price = draw.integers(20, 90, ROWS)
    leaving = (contract == "monthly") * 1.5 - months / 20 + draw.normal(size=ROWS) > 0
    joined = pd.Timestamp("2025-06-01") - pd.to_timedelta(months * 30, unit="D")
    said = np.where(leaving, "yes", "no")
    churn = {"customer": range(ROWS), "joined": joined.strftime("%d.%m.%Y"), "contract": contract, "price": price}
    pd.DataFrame({**churn, "months": months, "churned": said}).to_csv(HERE / "churn.csv", index=False, sep=";")

    day = np.arange(ROWS)
    sold = 100 + day / 4 + 20 * np.isin(day % 7, (5, 6)) + draw.normal(scale=4, size=ROWS)
    days = (pd.Timestamp("2025-01-01") + pd.to_timedelta(day, unit="D")).strftime("%Y-%m-%d")
    sales = {
        "day": days,
        "number": day,
        "weekday": day % 7,
        "last_week": np.roll(sold, 7).round(1),
        "sold": sold.round(1),
    }
    pd.DataFrame(sales).iloc[7:].sample(frac=1, random_state=0).to_csv(HERE / "sales.csv", index=False)

    patient = np.repeat(np.arange(ROWS // 5), 5)
    base = draw.normal(size=ROWS // 5)[patient]
    beat, pressure = 70 + 8 * base + draw.normal(size=ROWS), 120 + 10 * base + draw.normal(scale=4, size=ROWS)
    ill = base + draw.normal(scale=0.5, size=ROWS // 5)[patient] > 0
    visits = {
        "patient": [f"p{each}" for each in patient],
        "beat": beat.round(1),
        "pressure": pressure.round(1),
        "ill": ill,
    }
    pd.DataFrame(visits).to_csv(HERE / "visits.csv", index=False)

    good, bad = ["great", "quick", "kind", "works"], ["broken", "late", "rude", "refund"]
    liked = draw.integers(0, 2, ROWS)
    words = [
        " ".join(draw.choice((good if each else bad) * 2 + ["the", "order", "was", "box"] * 3, 6)) for each in liked
    ]
    pd.DataFrame({"review": words, "liked": liked}).to_csv(HERE / "reviews.csv", index=False)

    amount, hour = draw.lognormal(3, 1, ROWS).round(2), draw.integers(0, 24, ROWS)
    risk = np.log(amount) + (hour < 6) * 1.5 + draw.normal(scale=0.5, size=ROWS)
    fraud = (risk > np.quantile(risk, 0.88)).astype(int)
    pd.DataFrame({"amount": amount, "hour": hour, "fraud": fraud}).to_csv(HERE / "payments.csv", index=False)


if __name__ == "__main__":
    main()
