"""What every part may use: time, tasks, transactions, ids, addresses. No part of the product's own decisions."""
