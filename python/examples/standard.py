"""Runium where the standard library's interfaces are expected."""
import asyncio
import concurrent.futures

import runium
from runium.core import Runium


def double(number):
    return 2 * number


async def main():
    print(await runium.new_task(double, {'number': 21}).run())
    futures = [runium.new_task(double, {'number': number}).run() for number in range(3)]
    print(await asyncio.gather(*map(asyncio.wrap_future, futures)))


if __name__ == '__main__':
    asyncio.run(main())

    futures = [runium.new_task(double, {'number': number}).run() for number in range(3)]
    print(sorted(future.result() for future in concurrent.futures.as_completed(futures)))

    # The standard interface on the same workers: here result() raises.
    with Runium() as own, own.executor() as executor:
        print(list(executor.map(double, range(3))))
        try:
            executor.submit(int, 'x').result()
        except ValueError as error:
            print(error)
