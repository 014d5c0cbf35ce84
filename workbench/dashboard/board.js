// One board: HTML written by the server, and what a reader does on it told back. The server escapes all text.
//
// A link is an ordinary one (`#/task/…`), so that back, bookmark and "open in a new tab" work. A button has `data-act`, a
// form `data-form`; what should be asked first has `data-confirm`.

// Make one element's content equal to another's. What is equal stays as it is, with its focus, and opened if it was.
function renew(old, fresh) {
  const there = [...old.childNodes], wanted = [...fresh.childNodes]
  wanted.forEach((node, place) => {
    const was = there[place]
    if (!was) {
      old.append(node)
    } else if (was.nodeName !== node.nodeName || was.id !== node.id) {
      was.replaceWith(node)
    } else if (node.nodeType !== Node.ELEMENT_NODE) {
      if (was.data !== node.data) was.data = node.data
    } else {
      for (const { name } of [...was.attributes]) if (!node.hasAttribute(name) && name !== "open") was.removeAttribute(name)
      for (const { name, value } of node.attributes) if (was.getAttribute(name) !== value) was.setAttribute(name, value)
      renew(was, node)
      if (was.matches("input, select") && was.value !== node.value) was.value = node.value
    }
  })
  for (const node of there.slice(wanted.length)) node.remove()
}

// Bokeh's browser part takes what the server has sent for its own news, and sends a whole chart with all its data back
// beside the first event of it. The page makes no models of its own, so none is ever new to the server.
function sendNothingBack(document) {
  const news = document._new_models
  if (!(news instanceof Set)) return
  news.clear()
  news.add = () => news
}

// What was seen before there were boards goes when they take its place: the head first, then the view.
function dropStill(leads) {
  const first = document.getElementById("first")
  if (!first) return
  const head = first.querySelector("#first-head")
  if (!leads) first.remove()
  else if (head) { // the view stays where it is
    first.style.paddingTop = `${head.offsetHeight}px`
    head.remove()
  }
}

// Copy a text; false where that isn't possible. A page that came by plain HTTP from another host has no clipboard.
async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    const area = document.createElement("textarea")
    area.value = text
    area.style.position = "fixed"
    document.body.append(area)
    area.select()
    try {
      return document.execCommand("copy")
    } catch {
      return false
    } finally {
      area.remove()
      button.focus({ preventScroll: true })
    }
  }
}

export function render({ model, view }) {
  const box = document.createElement("div")
  box.className = "board"
  box.innerHTML = model.frame
  const shown = {}
  let pressed = false

  const fill = () => {
    if (pressed) return // a button that is replaced between press and release gets no click
    for (const part of box.querySelectorAll("[data-part]")) {
      const html = model.parts[part.dataset.part] ?? ""
      if (part.querySelector("input:focus, select:focus")) {
        shown[part.dataset.part] = null // what is typed stays, and it's looked at again when that's over
      } else if (shown[part.dataset.part] !== html) {
        shown[part.dataset.part] = html
        const fresh = document.createElement("div")
        fresh.innerHTML = html
        renew(part, fresh)
      }
    }
  }
  let here = null
  const follow = () => { // a narrow window shows some of the links to views: the present one's, once it's another
    const link = box.querySelector("nav [aria-current]")
    if (!link || !link.parentElement.clientWidth || link.hash === here) return
    here = link.hash
    const [place, row] = [link.getBoundingClientRect(), link.parentElement.getBoundingClientRect()]
    link.parentElement.scrollLeft += place.left - row.left - (row.width - place.width) / 2
  }
  const renewed = () => { fill(); requestAnimationFrame(follow) }
  renewed()
  model.on("parts", renewed)

  const gone = new AbortController()
  model.on("remove", () => gone.abort())
  const { signal } = gone
  const release = () => {
    if (pressed) setTimeout(() => { pressed = false; renewed() }) // after the click that follows
  }
  box.addEventListener("pointerdown", event => { pressed ||= event.button === 0 })
  // A menu, or another window, takes the rest of a press for itself.
  const ends = ["pointerup", "pointercancel", "contextmenu", "blur"]
  for (const end of ends) window.addEventListener(end, release, { signal })
  document.addEventListener("visibilitychange", release, { signal })

  const tell = message => model.send_msg(message)

  const ask = (text, yes) => {
    const dialog = document.createElement("dialog")
    const words = document.createElement("p")
    words.textContent = text
    const row = document.createElement("div")
    row.className = "row end"
    const no = document.createElement("button")
    no.textContent = "Keep as it is"
    no.onclick = () => dialog.close()
    const go = document.createElement("button")
    go.className = "danger"
    go.textContent = "Go ahead"
    go.dataset.sure = ""
    go.onclick = () => { dialog.close(); yes() }
    row.append(no, go)
    dialog.append(words, row)
    dialog.addEventListener("close", () => dialog.remove())
    box.append(dialog)
    dialog.showModal()
    no.focus()
  }

  box.addEventListener("click", event => {
    const button = event.target.closest("[data-act]")
    if (button) {
      event.preventDefault()
      const { act, confirm, ...rest } = button.dataset
      if (act === "copy" || act === "link") {
        const text = act === "link" ? location.href : rest.text
        copy(text, button).then(done => flash(button, done ? "Copied" : "Copy failed"))
      } else if (act === "theme") {
        const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark"
        document.documentElement.dataset.theme = theme
        tell({ theme })
        try { localStorage.setItem("workbench-theme", theme) } catch {} // a frame may have no storage
      } else if (confirm) {
        ask(confirm, () => tell({ act, ...rest }))
      } else {
        tell({ act, ...rest })
      }
      return
    }
    const line = event.target.closest("tr[data-href]")
    if (line && !event.target.closest("a, button, summary") && !String(getSelection())) location.hash = line.dataset.href
  })
  box.addEventListener("keydown", event => {
    const line = event.target.closest?.("tr[data-href]")
    if (line && event.key === "Enter") location.hash = line.dataset.href
  })

  const flash = (button, text) => {
    button.usual ??= button.textContent // it may still tell of the click before
    button.textContent = text
    clearTimeout(button.telling)
    button.telling = setTimeout(() => { button.textContent = button.usual; delete button.usual }, 1200)
  }

  let typing = null
  const send = form => {
    const values = Object.fromEntries(new FormData(form))
    if (form.dataset.route) { // the address says what is searched for, so that it can be kept and sent on
      const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value)).toString()
      history.replaceState(null, "", `#/${form.dataset.route}${query ? "?" + query : ""}`)
    }
    tell({ form: form.dataset.form, values })
  }
  box.addEventListener("input", event => {
    const form = event.target.closest("[data-form]")
    if (!form) return
    clearTimeout(typing)
    typing = setTimeout(() => send(form), event.target.matches("input[type=search], input[type=text]") ? 250 : 0)
  })
  box.addEventListener("submit", event => {
    event.preventDefault()
    clearTimeout(typing)
    send(event.target)
  })

  const route = () => {
    scrollTo(0, 0)
    tell({ route: location.hash.replace(/^#\/?/, "") }) // as it is: the server decodes its parts
  }
  dropStill(model.leads)
  tell({ ready: true })
  let heard = true
  if (model.leads) { // the one board that stands for the page: it follows the address and wears the theme
    sendNothingBack(view.model.document)
    tell({ theme: document.documentElement.dataset.theme ?? "light" }) // the page's own script has chosen it
    route()
    window.addEventListener("hashchange", route, { signal })
    // The server tells the time every second. Where nothing comes any more, say so: the page can't be trusted then.
    let beat = Date.now()
    model.on("beat", () => { beat = Date.now() })
    const watch = setInterval(() => {
      const now = Date.now() - beat < 8000
      if (now !== heard) {
        heard = now
        box.classList.toggle("cut", !heard)
      }
    }, 1000)
    signal.addEventListener("abort", () => clearInterval(watch))
  }
  return box
}
