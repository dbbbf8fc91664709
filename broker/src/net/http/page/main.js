// Which view is shown, and what keeps them up to date.

const VIEWS = ['overview', 'clients', 'topics', 'console']

function route() {
    const name = location.hash.slice(1)
    // Others lead to places within a view.
    if (name && !VIEWS.includes(name)) return
    const view = name || VIEWS[0]
    for (const other of VIEWS) {
        byId(`view-${other}`).hidden = other !== view
        const link = document.querySelector(`nav a[href="#${other}"]`)
        if (other === view) link.setAttribute('aria-current', 'page')
        else link.removeAttribute('aria-current')
    }
    if (view === 'topics') openTopics()
    else leaveTopics()
    if (view === 'clients') attempt(lookAtClients)
    if (view === 'overview') drawCharts()
}

function linked(isLinked, text) {
    byId('link').className = isLinked ? 'good' : 'bad'
    write(byId('link'), text)
}

async function keepStatus() {
    for (;;) {
        await lookAtStatus()
        await pause(5_000)
    }
}

addEventListener('hashchange', route)
route()

follow('api/v1/events', {
    open: () => linked(true, 'Live'),
    event: (name, reading) => showOverview(take(reading), reading),
    lost: (error) => linked(false, `${error.message} Trying again …`),
})
keepStatus()
keepClients()
setInterval(showTopics, 250)
setInterval(showMessages, 200)
