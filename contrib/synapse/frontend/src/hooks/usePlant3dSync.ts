import { useCallback, useEffect, useRef, useState } from 'react'
import type { SyncApi, SyncStatus, SyncView } from '../types/plant3dSync'

/** Milliseconds. Never more than one request in `LEAST`, however often people press: each goes into the DevConsole. */
export const LEAST = 3_000
export const QUIET = 60_000
/** How long "done" stays before it becomes an age. */
export const DONE_SHOWN = 8_000

const FAILED = new Set(['failed', 'stopped', 'guarded', 'error', 'cancelled'])

/** The view for what the backend said; `finished`: a run that was seen running is over now. */
export function viewOf(status: SyncStatus, finished: boolean): SyncView {
  if (status.running) {
    const { phase, done, total } = status.running
    return status.running.status === 'queued' ? { kind: 'queued' } : { kind: 'running', phase, done, total }
  }
  const last = status.last
  if (last && (last.error || FAILED.has(last.status ?? '') || FAILED.has(last.outcome ?? ''))) {
    return { kind: 'failed', reason: last.error ?? 'The last run failed.', console: status.console }
  }
  if (status.pending_conflicts > 0) {
    return { kind: 'waiting', conflicts: status.pending_conflicts, console: status.console }
  }
  if (finished) return { kind: 'done', lastSync: status.last_sync }
  return { kind: 'idle', lastSync: status.last_sync }
}

function httpStatus(error: unknown): number | undefined {
  return (error as { response?: { status?: number } } | undefined)?.response?.status
}

export interface Plant3dSync {
  view: SyncView
  mayStart: boolean
  start: () => void
}

/**
 * Follows the project's synchronisation: every 60 s, every 3 s while a run goes on.
 * `onDone` is called once for each run that ended while the page looked on (reload the assets there).
 */
export function usePlant3dSync(api: SyncApi, projectId: string | null, onDone?: (view: SyncView) => void): Plant3dSync {
  const [view, setView] = useState<SyncView>({ kind: projectId ? 'unknown' : 'hidden' })
  const [mayStart, setMayStart] = useState(false)
  const turn = useRef<(what?: 'start') => void>(() => undefined)
  const done = useRef(onDone)
  const calls = useRef(api)
  const lastRequest = useRef(-Infinity)
  done.current = onDone
  calls.current = api

  useEffect(() => {
    let alive = true
    let busy = false
    let wanted = false
    let followed = false
    let timer: ReturnType<typeof setTimeout> | undefined
    setMayStart(false)
    if (!projectId) {
      setView({ kind: 'hidden' })
      return undefined
    }
    setView({ kind: 'unknown' })

    const later = (milliseconds: number) => {
      clearTimeout(timer)
      const earliest = lastRequest.current + LEAST - Date.now()
      timer = setTimeout(() => void ask(), Math.max(milliseconds, earliest, 0))
    }

    const ask = async () => {
      if (!alive || busy) return
      busy = true
      const starting = wanted
      wanted = false
      lastRequest.current = Date.now()
      try {
        if (starting) {
          await calls.current.now()
          if (alive) followed = true
          if (alive) later(LEAST)
          return
        }
        const { data } = await calls.current.status()
        if (!alive) return
        const going = data.running !== null
        const found = viewOf(data, followed && !going)
        setMayStart(data.may_start)
        setView(found)
        if (followed && !going) done.current?.(found)
        const next = going ? LEAST : found.kind === 'done' ? DONE_SHOWN : QUIET
        followed = going
        later(next)
      } catch (error) {
        if (!alive) return
        const status = httpStatus(error)
        if (status === 404) {
          setView({ kind: 'hidden' })
          return
        }
        if (status === 403) setMayStart(false)
        setView(status === 403 ? { kind: 'unknown' } : { kind: 'offline' })
        later(QUIET)
      } finally {
        busy = false
      }
    }

    turn.current = () => {
      if (wanted || followed) return
      wanted = true
      setView({ kind: 'queued' })
      if (busy) later(LEAST)
      else later(0)
    }
    later(0)
    return () => {
      alive = false
      clearTimeout(timer)
    }
  }, [projectId])

  return { view, mayStart, start: useCallback(() => turn.current('start'), []) }
}
