#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Uses the shop's page as a person would, in a headless Chromium.

    shop.py --base http://127.0.0.1:8080 SHOTS             the page as it is served there (Weir's gateway)
    shop.py --base … --trouble SHOTS                       one order, while payments and mail are down there
    shop.py --programs .build/debug/weir-example SHOTS     starts the programs behind a stand-in for Weir

SHOTS is a folder for the pictures. Needs `pip install -r requirements.txt` and a Chromium, as notes.py, whose walk it
shares. Ends with 0 when everything was seen.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

from playwright.sync_api import expect, sync_playwright

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from notes import Walk, names_and_contrast  # noqa: E402
from standin import Standin  # noqa: E402

ROOT = pathlib.Path(__file__).parent.parent.parent
# Far above what is expected: the machine may be busy with other tests.
PATIENCE = 90_000


class Programs:
    """The shop's programs on free ports, behind a stand-in for Weir."""

    def __init__(self, binary, folder):
        self.binary, self.folder, self.running = binary, folder, {}
        self.front = Standin()
        for name in ("web", "catalog", "orders", "payments", "inventory", "mailer"):
            self.start(name)

    def start(self, name):
        data = [] if name == "web" else ["--database", os.path.join(self.folder, name + ".db")]
        command = (
            [sys.executable, str(ROOT / "examples/shop/mailer.py")] if name == "mailer" else [self.binary, "shop", name])
        environment = {**os.environ, **self.front.environment(), "WEIR_EXAMPLE_FAULTS": "browser"}
        process = subprocess.Popen(
            [*command, "--port", "0", *data], stdout=subprocess.PIPE, env=environment, text=True)
        self.front.services[name] = json.loads(process.stdout.readline())["port"]
        self.running[name] = process

    def stop(self, name, how=signal.SIGTERM):
        process = self.running.pop(name)
        process.send_signal(how)
        code = process.wait(timeout=20)
        process.stdout.close()
        return code

    def close(self):
        for name in list(self.running):
            if self.stop(name) != 0:
                print(f"wrong: {name} did not end with 0")
        self.front.close()


def add(page, name):
    page.get_by_role("button", name=f"Add {name} to the cart").click()


def place(page, *names, email="ann@example.com"):
    """Puts products into the cart and orders them."""
    for name in names:
        add(page, name)
    page.get_by_label("E-mail").fill(email)
    page.get_by_role("button", name="Place order").click()
    expect(page.locator("#live")).to_be_visible(timeout=PATIENCE)


def ended(page, words):
    expect(page.locator("#live-content .badge")).to_have_text(words, timeout=PATIENCE)


def order(walk):
    """An order is placed; the list has it, the cart is empty, and the mail is sent."""
    page = walk.page()
    place(page, "Stoneware mug", "Canvas bag")
    ended(page, "Placed")
    walk.seen("an order is placed, and the page says so when it is")
    first = page.locator(".order").first
    expect(first).to_have_attribute("data-state", "placed", timeout=PATIENCE)
    expect(first).to_contain_text("1 × Stoneware mug")
    expect(page.locator("#cart-count")).to_have_text("0", timeout=PATIENCE)
    walk.seen("the list of orders has it, and the cart is empty")
    expect(page.locator("#live-content > div")).to_have_attribute("data-mail", "done", timeout=PATIENCE)
    walk.seen("the mail is sent")
    page.reload()
    expect(page.locator(".order")).to_have_count(1)
    walk.seen("it is there after a reload")
    page.context.close()


def declined(walk):
    """The bank says no: nothing is paid, nothing reserved, the cart is kept."""
    page = walk.page()
    place(page, "Umbrella")
    ended(page, "Not placed")
    expect(page.locator("#live-content")).to_contain_text("The payment was declined")
    expect(page.locator(".order").first).to_have_attribute("data-state", "rejected", timeout=PATIENCE)
    expect(page.locator("#cart-count")).to_have_text("1")
    walk.seen("an order that the bank declines is not placed, and the cart is kept")
    page.context.close()


def sold_out(walk):
    """There is one chair: the second order of it is taken back, with its payment."""
    page = walk.page()
    place(page, "The last chair")
    ended(page, "Placed")
    expect(page.locator(".product").filter(has_text="The last chair")).to_contain_text("Sold out", timeout=PATIENCE)
    walk.seen("the last one is sold, and the page says that there are none")
    page.context.close()


def by_keyboard(walk):
    """The same without a mouse; what has the focus can be seen."""
    page = walk.page()
    expect(page.locator(".product").first).to_be_visible(timeout=PATIENCE)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the products")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#products")).to_be_focused()
    page.keyboard.press("/")
    expect(page.locator("#query")).to_be_focused()
    page.keyboard.type("mug")
    expect(page.locator("#found")).to_have_text("1 product")
    page.keyboard.press("Enter")
    expect(page.locator("#products")).to_be_focused()
    button = page.get_by_role("button", name="Add Stoneware mug to the cart")
    for _ in range(10):
        page.keyboard.press("Tab")
        if button.evaluate("node => node === document.activeElement"):
            break
    expect(button).to_be_focused()
    ring = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    if ring != "3px":
        walk.complaints.append(f"the focus is not shown: outline {ring}")
    page.keyboard.press("Enter")
    expect(page.locator("#cart-count")).to_have_text("1")
    more = page.get_by_role("button", name="One Stoneware mug more")
    more.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#cart-count")).to_have_text("2")
    expect(more).to_be_focused()
    page.get_by_role("button", name="Place order").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#checkout-error")).to_have_text("Where should the confirmation go?")
    expect(page.get_by_label("E-mail")).to_be_focused()
    page.keyboard.type("kim@example.com")
    page.keyboard.press("Enter")
    expect(page.locator("#live")).to_be_focused(timeout=PATIENCE)
    ended(page, "Placed")
    walk.seen("everything works by keyboard")
    page.context.close()


def broken(walk, programs):
    """What only one's own programs can show: payments killed, mail down, inventory away, the catalogue away."""
    programs.stop("payments", signal.SIGKILL)
    programs.stop("mailer", signal.SIGKILL)

    page = walk.page()
    place(page, "Wall clock")
    expect(page.locator(".step").filter(has_text="Payment")).to_contain_text("tr", timeout=PATIENCE)
    ended(page, "In progress")
    page.screenshot(path=walk.shots / "in-progress.png", full_page=True)
    page.reload()
    ended(page, "In progress")
    walk.seen("while payments are dead the order is in progress, also after a reload")
    programs.start("payments")
    ended(page, "Placed")
    expect(page.locator("#live-content")).to_contain_text("The e-mail waits to be sent.", timeout=PATIENCE)
    walk.seen("when they are back it is placed; its mail waits, for mail is down")
    page.screenshot(path=walk.shots / "mail-waits.png", full_page=True)
    programs.start("mailer")
    expect(page.locator("#live-content > div")).to_have_attribute("data-mail", "done", timeout=PATIENCE)
    walk.seen("the mail is sent when the mailer is back")
    page.context.close()

    programs.front.down.add("inventory")
    page = walk.page()
    expect(page.locator("#degraded")).to_be_visible(timeout=PATIENCE)
    walk.seen("without the inventory the page shows the products all the same")
    page.context.close()
    programs.front.down.clear()

    walk.forgives = ("Failed to load resource",)
    programs.front.down.add("catalog")
    walk.shoot("error", lambda page: expect(page.get_by_role("alert").filter(has_text="could not be loaded")).to_be_visible())
    page = walk.page()
    programs.front.down.clear()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".product").first).to_be_visible(timeout=PATIENCE)
    walk.forgives = ()
    walk.seen("it says what failed, and goes on when asked again")
    page.context.close()


def pictures(walk):
    def with_cart(page):
        expect(page.locator(".product").first).to_be_visible(timeout=PATIENCE)
        add(page, "Desk lamp")
        add(page, "Stoneware mug")
        expect(page.locator("#cart-count")).to_have_text("2")

    walk.shoot("products", lambda page: expect(page.locator(".product").first).to_be_visible(timeout=PATIENCE))
    walk.shoot("cart", with_cart)

    def placed(page):
        place(page, "Notebook", "Fountain pen")
        ended(page, "Placed")
        expect(page.locator(".order").first).to_have_attribute("data-state", "placed", timeout=PATIENCE)

    walk.shoot("placed", placed)


def trouble(walk):
    """An order while another breaks things; who reads here that its mail waits starts the mailer again."""
    page = walk.page()
    expect(page.locator(".product").first).to_be_visible(timeout=PATIENCE)
    for name in ("Desk lamp", "Notebook"):
        add(page, name)
    page.get_by_label("E-mail").fill("ann@example.com")
    page.get_by_role("button", name="Place order").click()
    expect(page.locator("#live")).to_be_visible(timeout=PATIENCE)
    print("ordered: " + page.evaluate("localStorage.getItem('following')"), flush=True)
    # Payments that are away for long let it be taken back; either way it has one end.
    body = page.locator("#live-content > div")
    expect(body).to_have_attribute("data-state", re.compile("finished|compensated"), timeout=PATIENCE)
    state = body.get_attribute("data-state")
    print(f"ended: {state}", flush=True)
    walk.seen("the order has ended")
    expect(page.locator(".order").first).to_have_attribute(
        "data-state", "placed" if state == "finished" else "rejected", timeout=PATIENCE)
    expect(page.locator(".order")).to_have_count(1)
    walk.seen("the list of orders has it once")
    expect(page.locator("#live-content")).to_contain_text("The e-mail waits to be sent.", timeout=PATIENCE)
    walk.seen("its mail waits")
    page.screenshot(path=walk.shots / "trouble.png", full_page=True)
    print("mail: waits", flush=True)
    expect(page.locator("#live-content > div")).to_have_attribute("data-mail", "done", timeout=PATIENCE)
    walk.seen("its mail is sent when the mailer is back")
    page.context.close()


def main():
    parser = argparse.ArgumentParser(description="Uses the shop's page in a headless Chromium.")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--base", help="where the page is served")
    where.add_argument("--programs", help="the weir-example binary, to start by itself")
    parser.add_argument("--trouble", action="store_true", help="one order, while payments and mail are down there")
    parser.add_argument("--chromium", help="the browser's binary")
    parser.add_argument("shots", help="folder for the pictures")
    arguments = parser.parse_args()
    names = ("chromium", "chromium-browser", "google-chrome")
    arguments.chromium = arguments.chromium or next(filter(None, map(shutil.which, names)), None)
    if arguments.chromium is None:
        parser.error("no Chromium found: install the package chromium, or give --chromium")

    programs, folder = None, tempfile.TemporaryDirectory()
    try:
        if arguments.programs:
            programs = Programs(arguments.programs, folder.name)
        with sync_playwright() as playwright:
            walk = Walk(playwright, arguments, programs.front.url if programs else arguments.base.rstrip("/"))
            walk.settled = lambda page: expect(page.locator(".product").first).to_be_visible(timeout=PATIENCE)
            if arguments.trouble:
                trouble(walk)
            else:
                order(walk)
                declined(walk)
                sold_out(walk)
                by_keyboard(walk)
                names_and_contrast(walk)
                pictures(walk)
                if programs:
                    broken(walk, programs)
            complaints = walk.complaints
            walk.browser.close()
    finally:
        if programs:
            programs.close()
        folder.cleanup()
    for complaint in complaints:
        print(f"wrong: {complaint}")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
