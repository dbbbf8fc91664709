const byId = (id) => document.getElementById(id)

// An element with these properties. Children that are no elements become text, never markup.
function make(tag, properties = {}, ...children) {
    const element = document.createElement(tag)
    for (const [name, value] of Object.entries(properties)) {
        if (name in element) element[name] = value
        else element.setAttribute(name, value)
    }
    element.append(...children.filter((child) => child !== null && child !== undefined))
    return element
}

// Writes only what is new, so that a selection in it stays.
function write(element, text) {
    if (element.textContent !== text) element.textContent = text
}

// Makes these the children, and keeps the focus where it is.
function fill(parent, children) {
    const same =
        parent.children.length === children.length &&
        children.every((child, n) => parent.children[n] === child)
    if (same) return
    const focused = document.activeElement
    parent.replaceChildren(...children)
    if (parent.contains(focused)) focused.focus({ preventScroll: true })
}

// Tells in passing what became of something.
function toast(text, isError = false) {
    const element = byId('toast')
    element.className = isError ? 'bad' : ''
    element.textContent = text
    // Above a dialog that was opened since.
    element.hidePopover()
    element.showPopover()
    clearTimeout(toast.timer)
    toast.timer = setTimeout(() => element.hidePopover(), isError ? 10_000 : 4_000)
}

// Does it, and tells if it fails.
async function attempt(work) {
    try {
        return await work()
    } catch (error) {
        toast(error.message, true)
    }
}

for (const button of document.querySelectorAll('[data-close]')) {
    button.onclick = () => button.closest('dialog').close()
}
